/* SPDX-License-Identifier: MIT
 * The call tree: functions by content, and stacks as paths that share their beginnings.
 *
 * A function is (name, file, first line), all texts; a node is one frame under its caller's node. A stack
 * is named by the node of its nearest frame and costs memory once, however many samples have it.
 *
 * Invariants: node 0 is the root, function 0 is empty; a node's parent has a smaller number; rows are never changed
 * after they were handed out (but for their links), so the writer reads them without a lock.
 * Context: hook, under the profile's lock (the getters: anywhere, for an id already handed out).
 */
#ifndef MP_CORE_TREE_H
#define MP_CORE_TREE_H

#include "core/index.h"

struct mp_function {
    uint32_t name, file, firstline; /* strings, line */
    uint32_t link;
};

struct mp_node {
    uint32_t parent, function, line;
    uint32_t link;
};

struct mp_tree {
    struct mp_vec functions, nodes;
    struct mp_index function_index, node_index;
};

int mp_tree_init(struct mp_tree *tree);
/* Ids, or a negative enum mp_err. */
int64_t mp_tree_function(struct mp_tree *tree, uint32_t name, uint32_t file, uint32_t firstline);
int64_t mp_tree_node(struct mp_tree *tree, uint32_t parent, uint32_t function, uint32_t line);

#endif
