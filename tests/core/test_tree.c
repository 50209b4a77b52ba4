/* SPDX-License-Identifier: MIT
 * The call tree: functions and nodes once each, stacks that share their beginnings, parents before children; memory that
 * is refused.
 */
#include "suite.h"

#include "core/tree.h"

static struct mp_tree tree;

static int fresh(void **state)
{
    (void)state;
    return mp_tree_init(&tree);
}

static int done(void **state)
{
    mp_vec_release(&tree.functions);
    mp_vec_release(&tree.nodes);
    mp_index_release(&tree.function_index);
    mp_index_release(&tree.node_index);
    return suite_memory_is_back(state);
}

static void functions_are_named_by_content(void **state)
{
    (void)state;
    int64_t id = mp_tree_function(&tree, 1, 2, 3);
    assert_int_equal(id, 1);
    assert_int_equal(mp_tree_function(&tree, 1, 2, 3), id);
    assert_int_equal(mp_tree_function(&tree, 2, 1, 3), 2);
    assert_int_equal(mp_tree_function(&tree, 1, 3, 2), 3);
    assert_int_equal(mp_tree_function(&tree, 1, 2, 4), 4);
    assert_int_equal(mp_tree_function(&tree, UINT32_MAX, UINT32_MAX, UINT32_MAX), 5);
    const struct mp_function *function = mp_vec_at(&tree.functions, (uint32_t)id);
    assert_int_equal(function->name, 1);
    assert_int_equal(function->file, 2);
    assert_int_equal(function->firstline, 3);
    assert_int_equal(mp_vec_count(&tree.functions), 6);
    assert_int_equal(mp_vec_count(&tree.nodes), 1);
}

static void stacks_share_their_beginnings(void **state)
{
    (void)state;
    enum { STACKS = 20000, DEPTH = 12 };
    static uint32_t leaf[STACKS], calls[STACKS][DEPTH];
    uint64_t seed = 3;
    for (int s = 0; s < STACKS; s++) {
        int64_t node = 0;
        for (int d = 0; d < DEPTH; d++) {
            calls[s][d] = suite_below(&seed, d < 8 ? 2 : 100);
            int64_t child = mp_tree_node(&tree, (uint32_t)node, calls[s][d] + 1, calls[s][d] * 3);
            assert_true(child > node);
            node = child;
        }
        leaf[s] = (uint32_t)node;
    }
    for (int s = 0; s < STACKS; s++) {
        uint32_t id = leaf[s];
        for (int d = DEPTH - 1; d >= 0; d--) {
            const struct mp_node *node = mp_vec_at(&tree.nodes, id);
            assert_int_equal(node->function, calls[s][d] + 1);
            assert_int_equal(node->line, calls[s][d] * 3);
            assert_true(node->parent < id);
            id = node->parent;
        }
        assert_int_equal(id, 0);
    }
    uint32_t nodes = mp_vec_count(&tree.nodes);
    assert_true(nodes < STACKS * 4); /* the first 8 of 12 frames have 510 ways in all */
    int64_t again = 0;
    for (int d = 0; d < DEPTH; d++) {
        again = mp_tree_node(&tree, (uint32_t)again, calls[7][d] + 1, calls[7][d] * 3);
    }
    assert_int_equal(again, leaf[7]);
    assert_int_equal(mp_vec_count(&tree.nodes), nodes);
}

static void memory_refused_leaves_it_whole(void **state)
{
    done(state);
    for (int granted = 0; granted < 14; granted++) {
        mp_sys_map_fail_after(granted);
        if (mp_tree_init(&tree) == MP_OK) {
            assert_true(granted >= 4);
            for (uint32_t i = 0; i < 40000; i++) {
                int64_t id = i % 2 == 0 ? mp_tree_node(&tree, 0, 1, i) : mp_tree_function(&tree, 1, 1, i);
                assert_true(id > 0 || id == MP_ERR_MEMORY);
            }
            mp_sys_map_fail_after(-1);
            for (uint32_t i = 0; i < 40000; i++) {
                int64_t id = i % 2 == 0 ? mp_tree_node(&tree, 0, 1, i) : mp_tree_function(&tree, 1, 1, i);
                assert_true(id > 0);
            }
            assert_int_equal(mp_vec_count(&tree.nodes), 20001);
            assert_int_equal(mp_vec_count(&tree.functions), 20001);
        }
        mp_sys_map_fail_after(-1);
        done(state);
    }
    assert_int_equal(fresh(state), MP_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(functions_are_named_by_content, fresh, done),
        cmocka_unit_test_setup_teardown(stacks_share_their_beginnings, fresh, done),
        cmocka_unit_test_setup_teardown(memory_refused_leaves_it_whole, fresh, done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
