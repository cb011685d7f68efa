//! What a pattern cannot match without: a few texts of which every match contains at least one, in their folded form.
//!
//! They let one pass over a text pick the few patterns that are worth trying among thousands.

use regex_syntax::hir::{Class, Hir, HirKind};

use super::text::fold;

/// Shorter ones occur everywhere and pick nothing.
pub(super) const LITERAL_BYTES_MIN: usize = 3;
/// A part of a needed text is needed, too.
const LITERAL_CHARS_MAX: usize = 24;
/// Alternatives of one pattern.
const LITERALS_MAX: usize = 64;
/// Members of a class that are looked at one by one.
const CLASS_MEMBERS_MAX: u32 = 32;
const REPEATS_MAX: u32 = 16;

/// Folded texts of which every match of the pattern contains one; `None` when there is no good choice.
pub(super) fn required(hir: &Hir) -> Option<Vec<String>> {
    let mut literals = describe(hir).best()?;
    literals.sort_unstable();
    literals.dedup();
    Some(literals)
}

/// What is known of a part of a pattern.
struct Known {
    /// Everything it can match, folded.
    exact: Option<Vec<String>>,
    /// Texts of which each of its matches contains one.
    needed: Option<Vec<String>>,
}

impl Known {
    fn nothing() -> Self {
        Self { exact: None, needed: None }
    }

    fn exactly(texts: Vec<String>) -> Self {
        Self { exact: Some(texts), needed: None }
    }

    fn best(self) -> Option<Vec<String>> {
        better(self.exact.map(cut), self.needed).filter(|texts| shortest(texts) >= LITERAL_BYTES_MIN)
    }
}

fn cut(texts: Vec<String>) -> Vec<String> {
    texts.into_iter().map(|text| text.chars().take(LITERAL_CHARS_MAX).collect()).collect()
}

fn shortest(texts: &[String]) -> usize {
    texts.iter().map(String::len).min().unwrap_or(0)
}

/// The choice whose shortest text is longer: it picks less often.
fn better(left: Option<Vec<String>>, right: Option<Vec<String>>) -> Option<Vec<String>> {
    match (left, right) {
        (Some(left), Some(right)) => {
            let rank = |texts: &[String]| (shortest(texts), usize::MAX - texts.len());
            Some(if rank(&right) > rank(&left) { right } else { left })
        }
        (left, right) => left.or(right),
    }
}

fn describe(hir: &Hir) -> Known {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Known::exactly(vec![String::new()]),
        HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
            Ok(text) => Known::exactly(vec![text.chars().map(fold).collect()]),
            Err(_) => Known::nothing(),
        },
        HirKind::Class(class) => members(class).map_or_else(Known::nothing, Known::exactly),
        HirKind::Capture(capture) => describe(&capture.sub),
        HirKind::Repetition(repetition) => {
            let known = describe(&repetition.sub);
            match (repetition.min, repetition.max) {
                (0, Some(1)) => {
                    let optional = known.exact.map(|mut texts| {
                        texts.push(String::new());
                        texts
                    });
                    Known { exact: optional, needed: None }
                }
                (0, _) => Known::nothing(),
                (min, Some(max)) if min == max && min <= REPEATS_MAX && known.exact.is_some() => {
                    let once = known.exact.unwrap_or_default();
                    let all = (1..min).try_fold(once.clone(), |joined, _| product(&joined, &once));
                    Known { exact: all, needed: Known::exactly(once).best() }
                }
                _ => Known { exact: None, needed: known.best() },
            }
        }
        HirKind::Concat(parts) => concatenated(parts),
        HirKind::Alternation(parts) => {
            let known: Vec<Known> = parts.iter().map(describe).collect();
            let joined = |texts: Vec<Option<Vec<String>>>| -> Option<Vec<String>> {
                let all: Vec<String> = texts.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect();
                (all.len() <= LITERALS_MAX).then_some(all)
            };
            let exact = joined(known.iter().map(|part| part.exact.clone()).collect());
            Known { exact, needed: joined(known.into_iter().map(Known::best).collect()) }
        }
    }
}

fn concatenated(parts: &[Hir]) -> Known {
    let mut run = vec![String::new()];
    let mut is_whole = true;
    let mut needed = None;
    for part in parts {
        let known = describe(part);
        if let Some(exact) = &known.exact {
            if let Some(joined) = product(&run, exact) {
                run = joined;
                continue;
            }
            // Too many together; what follows begins anew.
            is_whole = false;
            needed = better(needed, Some(cut(std::mem::replace(&mut run, exact.clone()))));
            continue;
        }
        is_whole = false;
        needed = better(needed, Some(cut(std::mem::replace(&mut run, vec![String::new()]))));
        needed = better(needed, known.needed);
    }
    if is_whole {
        return Known { exact: Some(run), needed };
    }
    Known { exact: None, needed: better(needed, Some(cut(run))) }
}

fn product(left: &[String], right: &[String]) -> Option<Vec<String>> {
    (left.len() * right.len() <= LITERALS_MAX)
        .then(|| left.iter().flat_map(|start| right.iter().map(move |end| format!("{start}{end}"))).collect())
}

/// The members of a small class, folded.
fn members(class: &Class) -> Option<Vec<String>> {
    let mut found: Vec<char> = Vec::new();
    let mut count = 0u32;
    let mut take = |first: u32, last: u32| -> Option<()> {
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
        if count > CLASS_MEMBERS_MAX {
            return None;
        }
        found.extend((first..=last).filter_map(char::from_u32).map(fold));
        Some(())
    };
    match class {
        Class::Unicode(class) => class.ranges().iter().try_for_each(|range| take(range.start().into(), range.end().into()))?,
        Class::Bytes(class) if class.is_ascii() => {
            class.ranges().iter().try_for_each(|range| take(range.start().into(), range.end().into()))?;
        }
        Class::Bytes(_) => return None,
    }
    found.sort_unstable();
    found.dedup();
    // A class without members never matches.
    (!found.is_empty()).then(|| found.into_iter().map(String::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pattern: &str) -> Option<Vec<String>> {
        required(&regex_syntax::parse(pattern).unwrap())
    }

    #[test]
    fn needed_texts_are_found() {
        for (pattern, literals) in [
            ("forbidden", &["forbidden"][..]),
            (r"forbidden-\w+", &["forbidden-"]),
            (r"(?i)Ignore\s+(?:all\s+)?previous", &["previous"]),
            (r"\bfoo(bar|BAZ)\b", &["foobar", "foobaz"]),
            (r"\w+@evil\.example", &["@evil.example"]),
            (r"[Dd]rop table", &["drop table"]),
            (r"(abc){2}", &["abcabc"]),
            (r"(abc)+x?", &["abc"]),
            (r"(?i)Kiss", &["kiss"]),
            (r"colou?r", &["color", "colour"]),
        ] {
            assert_eq!(of(pattern).as_deref(), Some(&literals.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()[..]), "{pattern}");
        }
        for pattern in [r"\d{4}", ".*", "ab", "(abc)?", "abc|x", "[a-z]+", ""] {
            assert_eq!(of(pattern), None, "{pattern}");
        }
    }
}
