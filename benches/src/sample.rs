//! What is made of many measurements: medians and percentiles of times, minima of the server's work.

use std::time::Duration;

/// The value below which `share` (0 to 1) of the samples lie; `None` of none.
pub fn quantile(samples: &mut [f64], share: f64) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().checked_sub(1)?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index between 0 and `last`"
    )]
    let at = (share.clamp(0.0, 1.0) * count(last)).round() as usize;
    samples.get(at).copied()
}

/// The value in the middle.
pub fn median(samples: &mut [f64]) -> Option<f64> {
    quantile(samples, 0.5)
}

/// The smallest: of what others can only add to.
pub fn minimum(samples: &[f64]) -> Option<f64> {
    samples.iter().copied().min_by(f64::total_cmp)
}

/// Microseconds.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A number of things as what can be divided.
#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub fn count(number: impl TryInto<u64>) -> f64 {
    number.try_into().unwrap_or(u64::MAX) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_hundred() {
        let mut samples: Vec<f64> = (1..=101).rev().map(f64::from).collect();
        assert_eq!(median(&mut samples), Some(51.0));
        assert_eq!(quantile(&mut samples, 0.99), Some(100.0));
        assert_eq!(quantile(&mut samples, 1.0), Some(101.0));
        assert_eq!(minimum(&samples), Some(1.0));
    }

    #[test]
    fn nothing_has_no_middle() {
        assert_eq!(median(&mut []), None);
        assert_eq!(minimum(&[]), None);
    }
}
