//! Which of the names that there are somebody meant who wrote another one.

/// Names further away than this are no misspellings (Damerau-Levenshtein, 1 for equal).
const NEAR: f64 = 0.55;

/// The known name that a misspelt one is nearest to, if one is near; else the one that it is a short or a long form of.
pub(crate) fn nearest<'a>(
    given: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Option<String> {
    let given = given.to_lowercase().replace('-', "_");
    let likest = |is_meant: &dyn Fn(f64, &str) -> bool| {
        known
            .clone()
            .map(|name| (strsim::normalized_damerau_levenshtein(&given, name), name))
            .filter(|&(alike, name)| is_meant(alike, name))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, name)| name.to_owned())
    };
    likest(&|alike, _| alike >= NEAR)
        .or_else(|| likest(&|_, name| shortens(&given, name) || shortens(name, &given)))
}

/// Whether `short` is one of the words of `long`, or their first letters: `kappa` or `ki` for `kappa_init`.
fn shortens(short: &str, long: &str) -> bool {
    let words = long.split('_');
    let initials: String = words.clone().filter_map(|word| word.chars().next()).collect();
    short.len() > 1
        && short != long
        && (initials == short || words.into_iter().any(|word| word == short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_come_before_short_and_long_forms() {
        let known =
            ["p", "lr", "p_norm", "weight_decay", "weight_decay_end", "kappa_init", "steps"];
        for (given, meant) in [
            ("kapa_init", Some("kappa_init")),
            ("Kappa-Init", Some("kappa_init")),
            ("step", Some("steps")),
            ("kappa", Some("kappa_init")),
            ("decay", Some("weight_decay")),
            ("wd", Some("weight_decay")),
            ("learning_rate", Some("lr")),
            ("lr_max", Some("lr")),
            // A single letter tells nothing.
            ("p_value", None),
            ("width", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known.into_iter()).as_deref(), meant, "{given}");
        }
    }
}
