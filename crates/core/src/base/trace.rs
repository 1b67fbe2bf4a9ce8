//! `tracing` if the feature is on, nothing otherwise: so that no call site needs a `cfg`.

#[cfg(feature = "tracing")]
pub(crate) use tracing::{debug, info, warn};

#[cfg(not(feature = "tracing"))]
mod silent {
    macro_rules! nothing {
        ($($field:ident = $(%)? $(?)? $value:expr,)* $text:literal) => {{ $(let _ = &$value;)* }};
    }
    pub(crate) use {nothing as debug, nothing as info, nothing as warn};
}
#[cfg(not(feature = "tracing"))]
pub(crate) use silent::{debug, info, warn};
