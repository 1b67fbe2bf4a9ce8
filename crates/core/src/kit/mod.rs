//! What only the crates of primitives, our tests and our tools use: not for users, and exempt from semantic versioning.
//!
//! - here: handles and requests of the engine;
//! - `futures`: futures that yield a primitive's own guard;
//! - `macros`: guard types, and the options of builders.

pub(crate) mod futures;
mod macros;

pub use futures::run;

pub use crate::ops::acquire::Acquire;
pub use crate::ops::held::convert::NotUpgraded;
pub use crate::ops::held::counted::Count;
pub use crate::ops::held::guard::Guard;
pub use crate::ops::held::shell::Shell;
pub use crate::ops::latch::{Latch, LatchCall};
pub use crate::ops::place::Place;
pub use crate::ops::primitive::{MAX_HEAD_START, Primitive, PrimitiveOptions};
pub use crate::ops::request::{AcquireRequest, Wait};
pub use crate::rate::limiter::{Limiter, LimiterOptions};
pub use crate::types::latch::{LatchOptions, OnMissing};
pub use crate::wire::record;
pub use crate::wire::script::Joined;
pub use crate::{builder_options, for_purpose, guard_type, lock_by_its_methods};

/// Whether this build of the library can speak TLS.
pub const TLS: bool = cfg!(any(feature = "tls-rustls", feature = "tls-native-tls"));

/// All scripts as they are sent to servers.
pub fn scripts() -> Vec<Joined> {
    crate::wire::script::all()
}
