//! How figures are written: about three digits, and the unit that goes with them.

pub(super) fn nanoseconds(number: f64) -> String {
    match number {
        n if n >= 999_500_000.0 => format!("{} s", digits(n / 1e9)),
        n if n >= 999_500.0 => format!("{} ms", digits(n / 1e6)),
        n if n >= 999.5 => format!("{} µs", digits(n / 1e3)),
        n => format!("{} ns", digits(n)),
    }
}

pub(super) fn bytes(number: f64) -> String {
    #[expect(clippy::cast_sign_loss, reason = "the sign is written before")]
    let whole = thousands(number.abs().round() as u64);
    let sign = if number <= -0.5 { "−" } else { "" };
    format!("{sign}{whole} B")
}

/// `1.00 µs` as `1 µs`: a tick is exact.
pub(super) fn nanoseconds_of_tick(number: f64) -> String {
    without_zeros(&nanoseconds(number))
}

/// Shorter than [`bytes`]: 100 kB.
pub(super) fn bytes_of_tick(number: f64) -> String {
    let text = match number {
        n if n >= 999_500.0 => format!("{} MB", digits(n / 1e6)),
        n if n >= 999.5 => format!("{} kB", digits(n / 1e3)),
        n => format!("{} B", digits(n)),
    };
    without_zeros(&text)
}

fn without_zeros(text: &str) -> String {
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            let number = number.trim_end_matches('0').trim_end_matches('.');
            format!("{number} {unit}")
        }
        _ => text.to_owned(),
    }
}

pub(super) fn per_second(number: f64) -> String {
    match number {
        n if n >= 999_500.0 => format!("{} M/s", digits(n / 1e6)),
        n if n >= 999.5 => format!("{} k/s", digits(n / 1e3)),
        n => format!("{} /s", digits(n)),
    }
}

pub(super) fn times(ratio: f64) -> String {
    format!("{}×", digits(ratio))
}

/// About three digits.
fn digits(number: f64) -> String {
    match number.abs() {
        n if n >= 99.95 => format!("{number:.0}"),
        n if n >= 9.995 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// `15000` as `15,000`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_about_three_digits_and_a_unit() {
        for (number, text) in [
            (4.256, "4.26 ns"),
            (328.4, "328 ns"),
            (4_692.0, "4.69 µs"),
            (518_000.0, "518 µs"),
            (999_600.0, "1.00 ms"),
            (12_340_000.0, "12.3 ms"),
        ] {
            assert_eq!(nanoseconds(number), text);
        }
        assert_eq!(per_second(1_234_567.0), "1.23 M/s");
        assert_eq!(per_second(21_400.0), "21.4 k/s");
        assert_eq!(bytes(133_217.2), "133,217 B");
        assert_eq!(bytes(-3.0), "−3 B");
        assert_eq!(times(12.34), "12.3×");
    }

    #[test]
    fn ticks_are_written_without_what_says_nothing() {
        for (number, time, memory) in [
            (2.0, "2 ns", "2 B"),
            (500.0, "500 ns", "500 B"),
            (1_000.0, "1 µs", "1 kB"),
            (100_000.0, "100 µs", "100 kB"),
            (2_000_000.0, "2 ms", "2 MB"),
        ] {
            assert_eq!(nanoseconds_of_tick(number), time);
            assert_eq!(bytes_of_tick(number), memory);
        }
    }
}
