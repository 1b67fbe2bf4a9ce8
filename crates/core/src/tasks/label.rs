//! Keeps the record with the label of a client alive.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::base::clock::{Moment, sleep_until};
use crate::runtime::shared::Shared;
use crate::wire::key::label_key;
use crate::wire::plain::label_command;

/// Keeps the record with the label alive for as long as somebody may look at a hold of ours.
pub(super) async fn keep_label(shared: &Shared) -> ! {
    let key = label_key(&shared.options.prefix, &shared.client_id);
    loop {
        let longest = Duration::from_millis(shared.longest_lease.load(Ordering::Relaxed));
        let life = longest + shared.options.retention;
        let command = label_command(&key, &shared.options.label, shared.life_ms(longest));
        let deadline = Moment::now() + shared.options.operation_timeout;
        let written = shared
            .route
            .command(key.as_bytes(), &command, deadline)
            .await
            .is_ok();
        // A record that could not be written costs a label in an inspection, nothing else.
        let pause = if written { life / 3 } else { Duration::from_secs(3) };
        sleep_until(Moment::now() + pause, None).await;
    }
}
