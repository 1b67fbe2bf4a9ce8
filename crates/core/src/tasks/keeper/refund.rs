//! Sends reservations back that nobody uses.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{Moment, sleep_until};
use crate::base::trace::debug;
use crate::runtime::refunds::{Pending, request};
use crate::runtime::shared::Shared;

/// Sends what [`Refunds::take`](crate::runtime::refunds::Refunds::take) gave, and frees its places. It may run twice and late, so it is repeated until it is
/// answered, or the operation timeout is over.
pub(super) async fn refund(shared: &Shared, batch: Vec<Arc<Pending>>) {
    if let Some(request) = request(&batch) {
        let over = Moment::now() + shared.options.operation_timeout;
        while let Err(failure) = shared.route.run(&request, over).await {
            debug!(error = %failure.error, "giving reservations back failed");
            if !failure.passing || Moment::now() >= over {
                break; // what could not be sent stays consumed
            }
            sleep_until(Moment::now() + Duration::from_millis(10), None).await;
        }
    }
    shared.refunds.done(&batch);
}
