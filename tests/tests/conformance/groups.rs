//! Lists the cases of the conformance suite, for all targets that run them.

/// Calls a macro for each group: with its name, and its cases, which are functions of the module with
/// this name.
macro_rules! groups {
    ($group:ident) => {
        $group! { waiting:
            holders_are_granted_up_to_the_capacity,
            a_try_reports_busy_and_leaves_no_place,
            a_bounded_wait_ends_with_none_and_leaves_no_place,
            the_time_of_a_bounded_wait_runs_from_the_call,
            waiters_are_granted_in_order_of_arrival,
            a_waiter_that_is_dropped_is_passed_over,
            h32_holders_never_exceed_the_capacity,
        }

        $group! { holding:
            a_renewed_hold_outlives_its_lease,
            a_hold_without_renewal_ends_with_its_lease,
            a_hold_without_renewal_that_was_handed_over_has_its_full_lease,
            an_extension_lasts_and_never_shortens,
            max_hold_ends_a_hold_that_is_renewed,
            a_forgotten_hold_ends_with_its_lease,
            a_dropped_guard_is_released,
            after_a_release_nothing_reads_lost,
            run_releases_and_drops_its_body_when_the_hold_is_lost,
            run_reports_a_hold_that_the_server_had_forgotten,
            h17_a_panic_releases,
            h15_a_guard_dropped_on_a_plain_thread_is_released,
            h16_a_hold_dropped_after_its_runtime_ends_with_its_lease,
            h18_a_leaked_future_does_not_block_the_queue,
        }

        $group! { keeping:
            a_release_after_a_time_is_one_request_and_wakes_the_waiter_then,
            a_release_after_a_time_may_end_after_the_lease,
            a_dropped_release_after_a_time_keeps_the_hold,
            a_release_after_a_time_keeps_no_hold_past_its_maximum,
            a_release_after_more_than_a_day_is_refused_and_releases,
            a_least_time_counts_whatever_ends_the_hold,
            a_hold_with_a_least_time_outlasts_its_process,
            a_hold_that_is_undone_is_not_kept,
        }

        $group! { losing:
            forced,
            forced_a_moment_before_the_release,
            expired_while_the_server_stands_still,
            expired_behind_a_dead_network,
            h38_flushed,
            h41_overwritten,
            the_client_is_closed,
            h47_a_frozen_server_never_makes_two_valid_guards,
        }

        $group! { dying:
            h4_when_a_holders_process_is_killed_the_waiter_takes_over_after_its_lease,
            h8_the_waiters_of_a_killed_process_are_passed_over,
            h8_the_dead_at_the_front_hold_up_the_living_for_a_claim_each_at_most,
            h8_waiters_that_vanish_cost_one_claim_together,
            h8_a_holder_that_vanishes_with_its_waiters_costs_a_lease_and_a_claim,
            h20_a_stopped_holder_reads_lost_when_it_goes_on,
            h20_a_stopped_waiter_lets_one_pass_and_believes_in_no_old_grant,
        }

        $group! { pausing:
            h20_a_hold_that_was_just_handed_over_survives_a_pause,
            h53_a_hold_that_was_just_handed_over_survives_a_restart,
        }

        $group! { network:
            h26_replies_are_lost_with_their_connection,
            h28_replies_never_come,
            h14_an_acquire_that_arrives_after_its_end_meets_a_tombstone,
            h35_an_acquire_that_arrives_after_its_tombstone_is_too_late,
            h2_a_lost_grant_is_found_at_the_next_tick,
            h2_a_lost_grant_that_lapsed_is_put_back_and_granted_again,
            h2_inboxes_are_killed_in_the_middle_of_waiting,
            h27_all_connections_are_killed,
        }

        $group! { server:
            h52_a_restart_that_forgets_is_a_loss_and_serves_the_waiter,
            h52_a_holder_hears_at_once_of_a_restart_that_forgets,
            h53_a_restart_that_remembers_costs_nobody_anything,
            h37_scripts_are_forgotten_at_every_step,
        }

        $group! { refusing:
            names_of_the_wrong_length,
            h59_names_of_any_bytes_are_distinct,
            h62_leases_and_maxima_out_of_range,
            h41_foreign_data_under_our_key_is_left_alone,
            h40_memory_is_full,
            h46_a_right_is_missing,
            h46_keys_of_another_pattern,
            h46_without_the_rights_to_messages_waiting_polls,
            h68_a_full_queue,
        }

        $group! { counting:
            an_uncontended_acquire_and_release_are_two_requests,
            h6_a_release_wakes_exactly_the_waiters_that_fit,
            a_contended_acquisition_is_two_requests_and_one_message,
            h66_every_key_has_a_ttl_at_every_step,
            h67_the_key_goes_with_the_retention,
        }
    };
}
