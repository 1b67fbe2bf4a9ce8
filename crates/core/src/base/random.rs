//! Random text that is safe in keys, channels and ids.

/// Fills `text` with characters of six bits each, 22 at most. A UUID has 122 random bits, and 90 of
/// them are in the first 16 characters.
pub(crate) fn digits(text: &mut [u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = uuid::Uuid::new_v4().as_u128();
    for digit in text {
        *digit = DIGITS[usize::try_from(bits & 63).unwrap_or(0)];
        bits >>= 6;
    }
}

/// Counts the bits of these texts that are random, as far as many texts show.
#[cfg(test)]
pub(crate) fn random_bits(texts: &[String]) -> u32 {
    let length = texts.iter().map(String::len).min().unwrap_or(0);
    let values = |at: usize| {
        let values: std::collections::BTreeSet<u8> = texts.iter().map(|text| text.as_bytes()[at]).collect();
        values.len().max(1).ilog2()
    };
    (0..length).map(values).sum()
}
