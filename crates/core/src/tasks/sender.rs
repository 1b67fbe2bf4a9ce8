//! Sends batches, until the client ends.

use std::sync::Arc;

use crate::runtime::shared::Shared;

/// Sends what waits, until it is dropped; then everybody sends directly.
pub(super) struct Sender(Arc<Shared>);

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.batcher.close();
    }
}

impl Sender {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::clone(shared))
    }

    pub(super) async fn run(self) -> ! {
        self.0.batcher.run(&self.0.route).await
    }
}
