//! Keeps the client's record, from which inspections learn what the ids of its attempts do not say.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::base::clock::{Moment, sleep_until};
use crate::runtime::shared::Shared;
use crate::wire::key::label_key;
use crate::wire::plain::label_command;

/// The record is written no sooner after there is something new to say. An attempt that is over by then costs no request.
const PAUSE: Duration = Duration::from_millis(250);

/// Keeps the record alive for as long as somebody may look at a hold of ours, and writes it anew when there is more to say.
/// What is no longer true of an attempt that is gone harms nobody, and goes with the next one.
pub(super) async fn keep_label(shared: &Shared) -> ! {
    let key = label_key(&shared.options.prefix, &shared.client_id);
    let mut written = None;
    let mut due = Moment::now();
    shared.route.wait_until_up().await; // then the server's time is known
    loop {
        let record = shared.client_record(key.as_bytes());
        if Moment::now() >= due || written.as_ref() != Some(&record) {
            let longest = Duration::from_millis(shared.longest_lease.load(Ordering::Relaxed));
            let life = longest + shared.options.retention;
            let command = label_command(&key, &record, shared.life_ms(longest));
            let deadline = Moment::now() + shared.options.operation_timeout;
            // A record that could not be written costs a label in an inspection, nothing else.
            let pause = if shared
                .route
                .command(key.as_bytes(), &command, deadline)
                .await
                .is_ok()
            {
                written = Some(record);
                life / 3
            } else {
                written = None;
                Duration::from_secs(3)
            };
            due = Moment::now() + pause;
        }
        tokio::select! {
            () = sleep_until(due, None) => {}
            () = shared.told.notified() => sleep_until(Moment::now() + PAUSE, None).await,
        }
    }
}
