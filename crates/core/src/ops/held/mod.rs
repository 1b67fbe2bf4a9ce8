//! What is held: guards, views of a hold, releases, and holds that become others.

pub(crate) mod convert;
pub(crate) mod counted;
pub(crate) mod guard;
pub(crate) mod hold;
pub(crate) mod release;
pub(crate) mod secure;
pub(crate) mod shell;
pub(crate) mod take_over;
