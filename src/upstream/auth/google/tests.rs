use std::{cell::Cell, time::Duration};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::KeySize,
    signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
};
use base64::engine::general_purpose::STANDARD;

use super::*;

/// The JSON of a service account with a fresh key, and the key.
pub fn service_account(token_uri: &str) -> (String, RsaKeyPair) {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der = key.as_der().unwrap();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
    let json = serde_json::json!({
        "type": "service_account", "project_id": "project-1", "private_key_id": "kid-1", "private_key": pem,
        "client_email": "robot@project-1.iam.gserviceaccount.com", "token_uri": token_uri, "quota_project_id": "payer",
    });
    (json.to_string(), key)
}

fn granted(token: &str, seconds: i64) -> Result<Bytes, Failure> {
    Ok(serde_json::json!({"access_token": token, "expires_in": seconds, "token_type": "Bearer"}).to_string().into())
}

#[test]
fn assertions_are_signed_by_the_account() {
    let (json, key) = service_account("https://oauth2.googleapis.com/token");
    let account = ServiceAccount::parse(&json).unwrap();
    assert!(account.asks_google());
    assert_eq!((account.project(), account.quota_project().unwrap().to_str().unwrap()), (Some("project-1"), "payer"));
    let assertion = account.assertion(1_700_000_000 * SECOND).unwrap();
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    let part = |text: &str| serde_json::from_slice::<serde_json::Value>(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    assert_eq!(part(header), serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": "kid-1"}));
    let claims = part(claims);
    assert_eq!((&claims["iat"], &claims["exp"]), (&1_700_000_000.into(), &1_700_003_600.into()));
    assert_eq!(claims["aud"], "https://oauth2.googleapis.com/token");
    assert_eq!(claims["iss"], "robot@project-1.iam.gserviceaccount.com");
}

#[test]
fn bad_keys_are_named_without_being_shown() {
    let (json, _) = service_account("http://127.0.0.1:1/token");
    assert!(!ServiceAccount::parse(&json).unwrap().asks_google());
    for (bad, says) in [
        ("{\"private_key\":\"hunter2\"", "no JSON of a service account"),
        ("{\"client_email\":\"a\",\"private_key\":\"hunter2\"}", "no PEM"),
        ("{\"client_email\":\"a\",\"private_key\":\"-----BEGIN PRIVATE KEY-----\\naGk=\\n-----END PRIVATE KEY-----\\n\"}", "no RSA key"),
    ] {
        let error = ServiceAccount::parse(bad).unwrap_err();
        assert!(error.contains(says) && !error.contains("hunter2"), "{error}");
    }
    assert!(!format!("{:?}", ServiceAccount::parse(&json).unwrap()).contains("PRIVATE"));
}

#[tokio::test]
async fn a_token_is_kept_until_shortly_before_its_end() {
    let (json, _) = service_account("http://127.0.0.1:1/token");
    let account = ServiceAccount::parse(&json).unwrap();
    let (clock, hand) = Clock::manual(0);
    let tokens = GoogleTokens::default();
    let asked = Cell::new(0);
    let get = async |answer: Result<Bytes, Failure>| {
        let ask = |request: TokenRequest| {
            assert!(request.body.starts_with("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=ey"));
            asked.set(asked.get() + 1);
            async move { answer }
        };
        tokens.token(&account, &clock, ask).await.map(|header| header.to_str().unwrap().to_owned())
    };
    assert_eq!(get(granted("one", 3_600)).await.unwrap(), "Bearer one");
    hand.advance(Duration::from_secs(3_200));
    assert_eq!(get(granted("two", 3_600)).await.unwrap(), "Bearer one");
    assert_eq!(asked.get(), 1);
    // Near its end it is replaced; if that fails, it is still good.
    hand.advance(Duration::from_secs(200));
    assert_eq!(get(Err(Failure::BrokenOff(String::new()))).await.unwrap(), "Bearer one");
    assert_eq!(get(granted("three", 3_600)).await.unwrap(), "Bearer three");
    tokens.forget(&account);
    assert!(get(Err(Failure::BrokenOff(String::new()))).await.is_err());
    let error = get(Ok(Bytes::from_static(b"{\"error\":\"nonsense\"}"))).await.unwrap_err();
    assert!(matches!(&error, Failure::Garbage(message) if message.ends_with("nonsense")), "{error}");
}

#[tokio::test]
async fn many_calls_ask_once() {
    let (json, _) = service_account("http://127.0.0.1:1/token");
    let account = ServiceAccount::parse(&json).unwrap();
    let clock = Clock::system();
    let tokens = GoogleTokens::default();
    let asked = Cell::new(0);
    let call = || {
        tokens.token(&account, &clock, |_| {
            asked.set(asked.get() + 1);
            async {
                tokio::task::yield_now().await;
                granted("one", 3_600)
            }
        })
    };
    let all = futures_util::future::join_all((0..10).map(|_| call())).await;
    assert!(all.iter().all(|header| header.as_ref().is_ok_and(|header| header == "Bearer one")));
    assert_eq!(asked.get(), 1);
}
