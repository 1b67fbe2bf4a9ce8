//! Wrong input and refusals.
