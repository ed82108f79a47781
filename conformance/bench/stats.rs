//! Percentiles.

/// The value that `percent` of the sorted values don't exceed (nearest rank): always one that was measured.
/// 0 for no values.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentile_is_a_measured_value() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!([0, 50, 90, 99, 100].map(|p| percentile(&values, p)), [1.0, 50.0, 90.0, 99.0, 100.0]);
    }

    #[test]
    fn percentile_of_few_values() {
        assert_eq!([50, 99].map(|p| percentile(&[3.0, 1.0, 2.0], p)), [2.0, 3.0]);
        assert_eq!(percentile(&[], 50), 0.0);
    }
}
