//! Medians, quartiles and ratios of what several runs measured.
//!
//! In: one figure per run. Out: [`Summary`]. Nothing is left out as an outlier: a run that differs
//! widens the range, and a wide range is marked wherever its figure stands.

/// The range, in parts of the median, past which a figure is marked.
const RANGE_MAX: f64 = 1.0 / 3.0;

/// What several runs measured, in order of size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Summary {
    pub(super) min: f64,
    pub(super) lower_quartile: f64,
    pub(super) median: f64,
    pub(super) upper_quartile: f64,
    pub(super) max: f64,
}

impl Summary {
    /// None of no figures.
    pub(super) fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            min: *sorted.first()?,
            lower_quartile: quantile(&sorted, 0.25),
            median: quantile(&sorted, 0.5),
            upper_quartile: quantile(&sorted, 0.75),
            max: *sorted.last()?,
        })
    }

    /// Whether the runs differ by more than a third of their median.
    pub(super) fn is_wide(&self) -> bool {
        self.max - self.min > RANGE_MAX * self.median
    }
}

/// Between the two figures that a quantile falls between, in proportion.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "runs are few")]
    let place = part * (sorted.len() - 1) as f64;
    #[expect(clippy::cast_sign_loss, reason = "0 <= place < length")]
    let below = place as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + place.fract() * (sorted[above] - sorted[below])
}

/// Ours in parts of theirs, run by run: what disturbs the machine for a while disturbs both. A run
/// that failed on either side has no ratio.
pub(super) fn ratios(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Vec<f64> {
    let pairs = ours.iter().zip(theirs);
    pairs
        .filter_map(|(ours, theirs)| Some((*ours)? / (*theirs)?))
        .filter(|ratio| ratio.is_finite())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(figures: &[f64]) -> [f64; 5] {
        let summary = Summary::of(figures).expect("there are figures");
        [
            summary.min,
            summary.lower_quartile,
            summary.median,
            summary.upper_quartile,
            summary.max,
        ]
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these quantiles are exact")]
    fn quartiles_lie_between_figures_in_proportion() {
        for (figures, expected) in [
            (&[7.0][..], [7.0, 7.0, 7.0, 7.0, 7.0]),
            (&[4.0, 2.0], [2.0, 2.5, 3.0, 3.5, 4.0]),
            (&[5.0, 1.0, 3.0, 2.0, 4.0], [1.0, 2.0, 3.0, 4.0, 5.0]),
            (&[1.0, 2.0, 3.0, 4.0], [1.0, 1.75, 2.5, 3.25, 4.0]),
        ] {
            assert_eq!(summary(figures), expected, "{figures:?}");
        }
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn a_range_of_more_than_a_third_is_wide() {
        for (figures, wide) in [
            ([90.0, 99.0, 123.0], false),
            ([90.0, 99.0, 124.0], true),
            ([5.0, 5.0, 5.0], false),
        ] {
            let summary = Summary::of(&figures).expect("there are figures");
            assert_eq!(summary.is_wide(), wide, "{figures:?}");
        }
    }

    #[test]
    fn ratios_are_of_runs_that_both_sides_finished() {
        let ours = [Some(1.0), None, Some(3.0), Some(8.0), Some(1.0)];
        let theirs = [Some(2.0), Some(1.0), Some(2.0), None, Some(0.0)];
        assert_eq!(ratios(&ours, &theirs), [0.5, 1.5]);
        assert!(ratios(&ours, &[]).is_empty());
    }
}
