//! `encrypted_content` of reasoning items. OpenAI's own passes as it is; what other vendors sign is wrapped, so that a client that sends
//! its answers' items back, as clients of this dialect do, brings it back to the vendor that made it.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::dialect::{Dialect, canonical::Signature};

/// Begins what was wrapped here. OpenAI's begins with `gAAAA`.
pub(super) const MARK: &str = "pixgate1.";

/// What a reasoning item carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Carried {
    pub signature: Signature,
    /// The tool call that is signed, when it is not the thought.
    pub call_id: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Wrapped<'a> {
    vendor: &'a str,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    call: Option<String>,
    #[serde(default)]
    sealed: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    id: Option<String>,
    value: String,
}

/// Vendors whose signatures come by, as they are named in what is wrapped.
const VENDORS: [(Dialect, &str); 4] =
    [(Dialect::Anthropic, "anthropic"), (Dialect::Gemini, "gemini"), (Dialect::Converse, "converse"), (Dialect::OpenAi, "openai")];

/// As the value of `encrypted_content`.
pub(super) fn wrap(signature: &Signature, call_id: Option<&str>) -> String {
    if signature.vendor == Dialect::OpenAi && call_id.is_none() {
        return signature.value.clone();
    }
    let vendor = VENDORS.iter().find(|(dialect, _)| *dialect == signature.vendor).map_or("", |(_, name)| name);
    let wrapped = Wrapped {
        vendor,
        call: call_id.map(str::to_owned),
        sealed: signature.sealed,
        id: signature.id.clone(),
        value: signature.value.clone(),
    };
    let json = serde_json::to_vec(&wrapped).unwrap_or_default();
    format!("{MARK}{}", BASE64_URL_SAFE_NO_PAD.encode(json))
}

/// Out of `encrypted_content`. What looks wrapped and cannot be read is nobody's: `None`.
pub(super) fn unwrap(encrypted: &str, item_id: Option<&str>) -> Option<Carried> {
    let Some(wrapped) = encrypted.strip_prefix(MARK) else {
        let signature = Signature { vendor: Dialect::OpenAi, value: encrypted.to_owned(), sealed: true, id: item_id.map(str::to_owned) };
        return Some(Carried { signature, call_id: None });
    };
    let json = BASE64_URL_SAFE_NO_PAD.decode(wrapped).ok()?;
    let wrapped: Wrapped<'_> = serde_json::from_slice(&json).ok()?;
    let (vendor, _) = VENDORS.into_iter().find(|(_, name)| *name == wrapped.vendor)?;
    Some(Carried { signature: Signature { vendor, value: wrapped.value, sealed: wrapped.sealed, id: wrapped.id }, call_id: wrapped.call })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_vendor_signed_comes_back_as_it_was() {
        for vendor in [Dialect::Anthropic, Dialect::Gemini, Dialect::Converse] {
            for (sealed, call_id) in [(false, None), (true, None), (false, Some("call_1"))] {
                let signature = Signature { vendor, value: "Eq+/=\"\n".to_owned(), sealed, id: None };
                let wrapped = wrap(&signature, call_id);
                assert!(wrapped.starts_with(MARK) && wrapped.is_ascii());
                assert_eq!(unwrap(&wrapped, Some("rs_1")), Some(Carried { signature, call_id: call_id.map(str::to_owned) }));
            }
        }
    }

    #[test]
    fn openai_s_own_passes_as_it_is() {
        let carried = unwrap("gAAAAx==", Some("rs_1")).expect("any text");
        assert_eq!((carried.signature.vendor, carried.signature.sealed), (Dialect::OpenAi, true));
        assert_eq!((carried.signature.id.as_deref(), carried.call_id.as_deref()), (Some("rs_1"), None));
        assert_eq!(wrap(&carried.signature, None), "gAAAAx==");
    }

    #[test]
    fn what_only_looks_wrapped_is_nobodys() {
        for text in ["pixgate1.", "pixgate1.!!", "pixgate1.e30", "pixgate1.eyJ2ZW5kb3IiOiJ4IiwidmFsdWUiOiIifQ"] {
            assert_eq!(unwrap(text, None), None, "{text}");
        }
    }
}
