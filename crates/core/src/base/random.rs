//! Random text that is safe in keys, channels and ids.

/// Fills `text` with characters of six random bits each.
/// A UUID has 122 of them, enough for 22 characters.
pub(crate) fn digits(text: &mut [u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = uuid::Uuid::new_v4().as_u128();
    for digit in text {
        *digit = DIGITS[usize::try_from(bits & 63).unwrap_or(0)];
        bits >>= 6;
    }
}
