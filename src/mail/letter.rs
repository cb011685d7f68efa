//! What a letter consists of, and how texts that others wrote come into one.

use crate::domain::Timestamp;

/// Longest text of a user that a mail repeats, in characters.
const USER_TEXT_CHARS_MAX: usize = 300;

/// A mail in the words of one language, before it has a form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Letter {
    pub subject: String,
    /// Stands before the link and therefore repeats nothing that a user wrote.
    pub lead: String,
    pub action: Option<Action>,
    /// Names and values; the values may be what a user wrote.
    pub facts: Vec<(&'static str, String)>,
    pub notes: Vec<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    pub label: &'static str,
    pub link: String,
}

impl Letter {
    pub fn new(subject: impl Into<String>, lead: impl Into<String>) -> Self {
        Self { subject: subject.into(), lead: lead.into(), ..Self::default() }
    }

    pub fn link(mut self, label: &'static str, link: &str) -> Self {
        self.action = Some(Action { label, link: link.to_owned() });
        self
    }

    /// A value that may come from a user.
    pub fn fact(mut self, name: &'static str, value: &str) -> Self {
        self.facts.push((name, one_line(value)));
        self
    }

    pub fn fact_if(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.fact(name, value),
            None => self,
        }
    }

    pub fn note(mut self, note: &'static str) -> Self {
        self.notes.push(note);
        self
    }
}

/// One line without control characters and without those that turn the direction of the text around them, so that nobody can write
/// lines into our mails that look like ours.
pub fn one_line(text: &str) -> String {
    let hides = |letter: char| matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let visible: String =
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).filter(|letter| !hides(*letter)).collect();
    let mut line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(USER_TEXT_CHARS_MAX) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// A moment for people, in UTC; `pattern` in the notation of strftime.
pub fn moment(at: Timestamp, pattern: &str) -> String {
    let ends = if at < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_microsecond(at).unwrap_or(ends).strftime(pattern).to_string()
}
