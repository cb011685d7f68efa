//! Which passwords are good enough. How they are kept is for `control::passwords`.

pub const LENGTH_MIN: usize = 10;
pub const LENGTH_MAX: usize = 128;
/// Of zxcvbn's 0 to 4: "safely unguessable", about 10^8 guesses.
const SCORE_MIN: u8 = 3;
/// The cost of the estimate grows with the text; what follows adds strength anyway.
const ESTIMATED_CHARS_MAX: usize = 100;

/// Says what is wrong with a new password and what would be better. `about` are texts that guessers would try first, such as the
/// owner's e-mail address and name.
pub fn check(password: &str, about: &[&str]) -> Result<(), String> {
    let length = password.chars().count();
    if !(LENGTH_MIN..=LENGTH_MAX).contains(&length) {
        return Err(format!("the password must have {LENGTH_MIN} to {LENGTH_MAX} characters; a few random words are good"));
    }
    let estimated: String = password.chars().take(ESTIMATED_CHARS_MAX).collect();
    let mut parts: Vec<&str> = about.to_vec();
    parts.extend(about.iter().flat_map(|text| text.split(['@', '.', ' '])).filter(|part| part.len() > 2));
    let estimate = zxcvbn::zxcvbn(&estimated, &parts);
    if u8::from(estimate.score()) >= SCORE_MIN {
        return Ok(());
    }
    let feedback = estimate.feedback();
    let why = feedback.and_then(|feedback| feedback.warning()).map(|warning| warning.to_string());
    let advice = feedback.and_then(|feedback| feedback.suggestions().first()).map(|suggestion| suggestion.to_string());
    let mut message = "this password is too easy to guess".to_owned();
    for part in why.into_iter().chain(advice) {
        message.push_str(": ");
        message.push_str(part.trim_end_matches('.'));
    }
    Err(message)
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn weak_passwords_are_told_why() {
        let about = ["ada.lovelace@example.com", "Ada Lovelace"];
        for weak in ["short", "password123", "aaaaaaaaaaaa", "lovelaceada", "qwertyuiop12", &"x".repeat(129)] {
            assert!(check(weak, &about).is_err(), "{weak}");
        }
        for good in ["correct horse battery staple", "tiXq8!vL2#pMw", "密码学是一门很有意思的学问呀"] {
            assert_eq!(check(good, &about), Ok(()), "{good}");
        }
        assert!(check("password123", &[]).unwrap_err().contains("easy to guess: "));
    }
}
