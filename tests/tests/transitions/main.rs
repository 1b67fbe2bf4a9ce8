//! Every way to leave or change a hold, in every state that the hold may be in.
//!
//! `docs/design.md` has the table of what happens ("Holds in transition"). Each cell is a test, `<way>::<state>`.
#![allow(clippy::significant_drop_tightening, reason = "guards are the subject")]

mod state;
mod ways;

/// A test of each way in each state.
macro_rules! cells {
    ($($way:ident,)*) => {$(
        mod $way {
            use crate::state::State;

            async fn cell(state: State) {
                crate::ways::$way(state).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn granted_by_a_reply() {
                cell(State::Reply).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_claim_that_is_not_confirmed() {
                cell(State::Claim).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_claim_that_is_being_confirmed() {
                cell(State::Confirming).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_renewal_is_under_way() {
                cell(State::Renewing).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_copy_of_its_acquire_may_be_under_way() {
                cell(State::Copy).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn past_its_deadline() {
                cell(State::Past).await;
            }
        }
    )*};
}

cells! {
    dropped,
    released,
    forgotten,
    made_a_ticket,
    resumed,
    extended,
    split,
    merged,
    downgraded,
    upgraded,
    closed,
}
