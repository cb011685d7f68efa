//! What came of an import, line by line.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Made,
    Changed,
    /// It was there.
    Unchanged,
    LeftOut,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Made, Self::Changed, Self::Unchanged, Self::LeftOut];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::LeftOut => "left out",
        }
    }
}

/// What became of one thing. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `upstream`, `model`, `account`, `credits`, `key` or `setting`.
    pub what: &'static str,
    pub name: String,
    pub outcome: Outcome,
    /// Why, or what to know about it; may be empty.
    pub why: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub dry_run: bool,
    pub lines: Vec<Line>,
}

impl Report {
    pub(super) fn add(&mut self, what: &'static str, name: impl Into<String>, outcome: Outcome, why: impl Into<String>) {
        // What others wrote must not break the table.
        let clean = |text: String| text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        self.lines.push(Line { what, name: clean(name.into()), outcome, why: clean(why.into()) });
    }

    pub(super) fn mentions(&self, what: &str, name: &str) -> bool {
        self.lines.iter().any(|line| line.what == what && line.name == name)
    }

    pub fn count(&self, outcome: Outcome) -> usize {
        self.lines.iter().filter(|line| line.outcome == outcome).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |of: fn(&Line) -> &str| self.lines.iter().map(|line| of(line).chars().count()).max().unwrap_or(0).min(48);
        let (what, name) = (width(|line| line.what), width(|line| &line.name));
        for line in &self.lines {
            let text = format!("{:what$}  {:name$}  {:9}  {}", line.what, line.name, line.outcome.as_str(), line.why);
            writeln!(out, "{}", text.trim_end())?;
        }
        let counts: Vec<String> = Outcome::ALL.iter().map(|outcome| format!("{} {}", self.count(*outcome), outcome.as_str())).collect();
        write!(out, "{}", counts.join(", "))?;
        if self.dry_run { write!(out, "; a dry run: nothing was written") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_read_as_a_table() {
        let mut report = Report { dry_run: true, ..Report::default() };
        report.add("upstream", "openai", Outcome::Made, "");
        report.add("key", "a\nb", Outcome::LeftOut, "it has expired");
        let expected = "upstream  openai  made\nkey       a b     left out   it has expired\n\
            1 made, 0 changed, 0 unchanged, 1 left out; a dry run: nothing was written";
        assert_eq!(report.to_string(), expected);
    }
}
