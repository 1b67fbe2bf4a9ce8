//! What a script behind a fence returned.

/// A value that a guarded script returned.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FenceReply {
    /// `nil` or `false`.
    Nil,
    /// A number.
    Int(i64),
    /// A string or status.
    Bytes(Vec<u8>),
    /// A table.
    Array(Vec<Self>),
}
