/* SPDX-License-Identifier: MIT
 * The call tree: see tree.h. Functions and nodes are both triples of numbers, and so share their code.
 *
 * Context: hook, under the profile's lock.
 */
#include "core/tree.h"

/* What struct mp_function and struct mp_node have in common. */
struct triple {
    uint32_t a, b, c;
    uint32_t link;
};

_Static_assert(sizeof(struct triple) == sizeof(struct mp_function), "same shape");
_Static_assert(sizeof(struct triple) == sizeof(struct mp_node), "same shape");

static uint32_t triple_hash(uint32_t a, uint32_t b, uint32_t c)
{
    return mp_hash_u64(((uint64_t)a << 32 | b) ^ (uint64_t)c * 0xC2B2AE3D27D4EB4Full);
}

static uint32_t row_hash(void *owner, uint32_t row)
{
    const struct triple *t = mp_vec_at(owner, row);
    return triple_hash(t->a, t->b, t->c);
}

static uint32_t *row_link(void *owner, uint32_t row)
{
    return &((struct triple *)mp_vec_at(owner, row))->link;
}

static int64_t intern(struct mp_vec *vec, struct mp_index *index, uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t hash = triple_hash(a, b, c);
    for (uint32_t id = *mp_index_chain(index, hash); id != 0;) {
        const struct triple *t = mp_vec_at(vec, id);
        if (t->a == a && t->b == b && t->c == c) {
            return id;
        }
        id = t->link;
    }
    int64_t id = mp_vec_push(vec);
    if (id < 0) {
        return id;
    }
    *(struct triple *)mp_vec_at(vec, (uint32_t)id) = (struct triple){a, b, c, 0};
    struct mp_index_rows rows = {vec, row_hash, row_link};
    mp_index_insert(index, &rows, (uint32_t)id, hash);
    return id;
}

int mp_tree_init(struct mp_tree *tree)
{
    mp_vec_init(&tree->functions, sizeof(struct mp_function), 10);
    mp_vec_init(&tree->nodes, sizeof(struct mp_node), 12);
    if (mp_index_init(&tree->function_index, 10) < 0 || mp_index_init(&tree->node_index, 12) < 0 ||
        mp_vec_push(&tree->functions) < 0 || mp_vec_push(&tree->nodes) < 0) {
        return MP_ERR_MEMORY;
    }
    return MP_OK;
}

int64_t mp_tree_function(struct mp_tree *tree, uint32_t name, uint32_t file, uint32_t firstline)
{
    return intern(&tree->functions, &tree->function_index, name, file, firstline);
}

int64_t mp_tree_node(struct mp_tree *tree, uint32_t parent, uint32_t function, uint32_t line)
{
    return intern(&tree->nodes, &tree->node_index, parent, function, line);
}
