//! Without a mail server the operator is the postman: what mails carry goes to standard output, never to the log.

use std::io::Write;

use crate::{actors::mailer::Kept, telemetry::redact::Redacted};

/// Prints a mail's kind, recipient and what its reader would need. `false` when nobody can read it.
pub fn show(kept: &Kept<'_>) -> bool {
    let Kept { kind, recipient, carries } = kept;
    let what = carries.unwrap_or("(nothing to open)");
    let printed = writeln!(std::io::stdout().lock(), "mail kept, no mail server is configured: {kind} to {recipient}: {what}");
    if let Err(error) = &printed {
        tracing::warn!(error = %error, mail.kind = kind, mail.recipient = ?Redacted(recipient), "a kept mail could not be printed");
    }
    printed.is_ok()
}
