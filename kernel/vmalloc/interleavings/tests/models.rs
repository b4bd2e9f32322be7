//! Each model is a test.

use interleavings::{block_models, handover_models, shootdown_models};

#[test]
fn a_round_reaches_a_cpu_that_uses_the_page() {
    shootdown_models::a_round_reaches_a_cpu_that_uses_the_page();
}

#[test]
fn a_range_reaches_a_cpu_that_uses_the_page() {
    shootdown_models::a_range_reaches_a_cpu_that_uses_the_page();
}

#[test]
fn a_cpu_that_was_idle_catches_up_before_it_uses_the_page() {
    shootdown_models::a_cpu_that_was_idle_catches_up_before_it_uses_the_page();
}

#[test]
fn two_cpus_flush_each_other() {
    shootdown_models::two_cpus_flush_each_other();
}

#[test]
fn nobody_is_confirmed_before_its_range_was_flushed() {
    shootdown_models::nobody_is_confirmed_before_its_range_was_flushed();
}

#[test]
fn what_an_isolated_cpu_may_reach_waits_for_its_own_flush() {
    shootdown_models::what_an_isolated_cpu_may_reach_waits_for_its_own_flush();
}

#[test]
fn a_broadcast_reaches_a_cpu_whatever_it_does() {
    shootdown_models::a_broadcast_reaches_a_cpu_whatever_it_does();
}

#[test]
fn a_table_is_not_given_away_while_somebody_looks_at_it() {
    shootdown_models::a_table_is_not_given_away_while_somebody_looks_at_it();
}

#[test]
fn a_table_is_not_given_away_while_an_idle_cpu_may_walk_through_it() {
    shootdown_models::a_table_is_not_given_away_while_an_idle_cpu_may_walk_through_it();
}

#[test]
fn a_cpu_that_comes_online_has_nothing_stale() {
    shootdown_models::a_cpu_that_comes_online_has_nothing_stale();
}

#[test]
fn nobody_waits_for_what_an_idle_cpu_was_asked_later() {
    shootdown_models::nobody_waits_for_what_an_idle_cpu_was_asked_later();
}

#[test]
fn no_page_is_lost_and_none_comes_back_before_its_flush() {
    block_models::no_page_is_lost_and_none_comes_back_before_its_flush();
}

#[test]
fn who_takes_a_list_finds_all_of_it() {
    block_models::who_takes_a_list_finds_all_of_it();
}

#[test]
fn each_page_taken_ahead_goes_to_one_cpu() {
    block_models::each_page_taken_ahead_goes_to_one_cpu();
}

#[test]
fn who_waits_for_ended_threads_is_woken() {
    handover_models::who_waits_for_ended_threads_is_woken();
}

#[test]
fn all_that_was_given_is_done_when_it_is_settled() {
    handover_models::all_that_was_given_is_done_when_it_is_settled();
}
