//! A provider on loopback that people sign in with: a strict OpenID provider below `/oidc`, and something like GitHub below `/gh` and
//! `/api`. It checks what a client must send, signs ID tokens with a key made for the test, and misbehaves on demand.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use aws_lc_rs::{
    digest,
    encoding::{AsBigEndian, EcPublicKeyUncompressedBin},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use pixgate::{config::Settings, telemetry::redact::Secret};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

pub const CLIENT_ID: &str = "pixgate-at-the-provider";
pub const CLIENT_SECRET: &str = "the secret of pixgate: & =";

/// What the provider does wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Twist {
    #[default]
    None,
    Nonce,
    NoNonce,
    Audience,
    MoreAudiences,
    Issuer,
    Expired,
    /// Signed by a key that is not published, under the name of one that is.
    Key,
    /// Signed by a key that is not published, under a name of its own.
    UnknownKey,
    Unsigned,
    /// Signed with what is no secret to the client: HS256 over its secret.
    Symmetric,
    OtherParty,
    OtherAccessToken,
    NoIdToken,
    /// The way back names another issuer.
    ReturnIssuer,
    /// The person says no.
    Denied,
    /// The token endpoint.
    Fails,
    Hangs,
    Endless,
    Redirects,
    NoJson,
    /// The discovery document, or GitHub's API.
    DocumentFails,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
}

struct Key {
    id: String,
    pair: Pair,
}

impl Key {
    fn rsa(id: &str) -> Self {
        Self { id: id.to_owned(), pair: Pair::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())) }
    }

    fn ec(id: &str) -> Self {
        Self { id: id.to_owned(), pair: Pair::Ec(Box::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())) }
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
        }
    }

    fn published(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                let n = URL_SAFE_NO_PAD.encode(key.modulus().big_endian_without_leading_zero());
                let e = URL_SAFE_NO_PAD.encode(key.exponent().big_endian_without_leading_zero());
                json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id, "n": n, "e": e})
            }
            Pair::Ec(pair) => {
                let point: EcPublicKeyUncompressedBin<'_> = pair.public_key().as_be_bytes().unwrap();
                let point = point.as_ref();
                let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
                json!({"kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": self.id, "x": x, "y": y})
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
            Pair::Ec(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
        }
    }
}

/// Somebody as the provider knows them. Both halves of the provider are told of the same person.
#[derive(Debug, Clone)]
pub struct Known {
    pub subject: u64,
    pub email: String,
    pub verified: bool,
    pub name: String,
}

#[derive(Clone)]
struct Grant {
    redirect_uri: String,
    challenge: String,
    nonce: String,
    person: Known,
}

struct State {
    person: Known,
    key: Key,
    twist: Twist,
    /// The clock of ID tokens, in seconds.
    now: i64,
    redirect_uris: Vec<String>,
    codes: HashMap<String, Grant>,
    tokens: HashMap<String, Known>,
    /// All that must not be found anywhere: states, codes, verifiers, nonces, tokens.
    secrets: Vec<String>,
    count: u64,
    asked: Vec<String>,
}

#[derive(Clone)]
pub struct IdentityProvider {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct Asked {
    method: String,
    path: String,
    query: HashMap<String, String>,
    headers: HashMap<String, String>,
    form: HashMap<String, String>,
}

enum Reply {
    Json(u16, Value),
    Text(u16, &'static str, String),
    To(u16, String),
    Hang,
}

impl IdentityProvider {
    /// With a clock of its own that stands at `now` microseconds.
    pub async fn start(now: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let state = State {
            person: Known { subject: 7_001, email: "ada@example.com".to_owned(), verified: true, name: "Ada Lovelace".to_owned() },
            key: Key::rsa("first"),
            twist: Twist::None,
            now: now / 1_000_000,
            redirect_uris: Vec::new(),
            codes: HashMap::new(),
            tokens: HashMap::new(),
            secrets: Vec::new(),
            count: 0,
            asked: Vec::new(),
        };
        let provider = Self { address, state: Arc::new(Mutex::new(state)) };
        let server = provider.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(server.clone().serve(stream));
            }
        });
        provider
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Has a gateway take this provider for both Google and GitHub.
    pub fn set_up(&self, settings: &mut Settings) {
        let oauth = &mut settings.oauth;
        oauth.google.issuer = self.url("/oidc");
        oauth.github.base_url = self.url("/gh");
        oauth.github.api_url = self.url("/api");
        for (id, secret) in
            [(&mut oauth.google.client_id, &mut oauth.google.client_secret), (&mut oauth.github.client_id, &mut oauth.github.client_secret)]
        {
            (*id, *secret) = (Some(CLIENT_ID.to_owned()), Some(Secret::new(CLIENT_SECRET)));
        }
    }

    /// Sends people back to this gateway only.
    pub fn register(&self, gateway: &str) {
        let paths = ["google", "github"].map(|provider| format!("{gateway}/api/v1/auth/oauth/{provider}/callback"));
        self.lock().redirect_uris.extend(paths);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Who sits in front of the provider's sign-in from now on.
    pub fn is(&self, subject: u64, email: &str) {
        let mut state = self.lock();
        (state.person.subject, state.person.email, state.person.verified) = (subject, email.to_owned(), true);
    }

    pub fn unverified(&self) {
        self.lock().person.verified = false;
    }

    pub fn twist(&self, twist: Twist) {
        self.lock().twist = twist;
    }

    /// Signs with a new key, which is the only one that is published from now on.
    pub fn rotate(&self, id: &str, is_rsa: bool) {
        self.lock().key = if is_rsa { Key::rsa(id) } else { Key::ec(id) };
    }

    pub fn secrets(&self) -> Vec<String> {
        self.lock().secrets.clone()
    }

    /// How often a path was asked for.
    pub fn count(&self, path: &str) -> usize {
        self.lock().asked.iter().filter(|asked| *asked == path).count()
    }

    async fn serve(self, mut stream: TcpStream) {
        let Some(asked) = read(&mut stream).await else { return };
        let (status, kind, body, location) = match self.answer(&asked) {
            Reply::Json(status, body) => (status, "application/json; charset=utf-8", body.to_string(), None),
            Reply::Text(status, kind, body) => (status, kind, body, None),
            Reply::To(status, location) => (status, "text/plain", String::new(), Some(location)),
            Reply::Hang => {
                // Until the caller hangs up.
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
                return;
            }
        };
        let location = location.map(|location| format!("location: {location}\r\n")).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {status} Mock\r\ncontent-type: {kind}\r\n{location}content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all((head + &body).as_bytes()).await;
    }

    fn answer(&self, asked: &Asked) -> Reply {
        let mut state = self.lock();
        state.asked.push(asked.path.clone());
        match asked.path.as_str() {
            "/oidc/.well-known/openid-configuration" => self.document(&state),
            "/oidc/jwks" => Reply::Json(200, json!({"keys": [state.key.published()]})),
            "/oidc/authorize" => authorize(&mut state, &asked.query, Some(self.url("/oidc"))),
            "/gh/login/oauth/authorize" => authorize(&mut state, &asked.query, None),
            "/oidc/token" => self.token(&mut state, asked),
            "/gh/login/oauth/access_token" => github_token(&mut state, asked),
            "/api/user" | "/api/user/emails" => api(&state, asked),
            _ => Reply::Text(404, "text/plain", "no such thing".to_owned()),
        }
    }

    fn document(&self, state: &State) -> Reply {
        if state.twist == Twist::DocumentFails {
            return Reply::Text(500, "text/html", "<h1>Error</h1>".to_owned());
        }
        Reply::Json(
            200,
            json!({
                "issuer": self.url("/oidc"), "authorization_endpoint": self.url("/oidc/authorize"), "token_endpoint": self.url("/oidc/token"),
                "jwks_uri": self.url("/oidc/jwks"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"], "code_challenge_methods_supported": ["S256"],
                "scopes_supported": ["openid", "email", "profile"], "claims_supported": ["sub", "email", "email_verified", "name"],
            }),
        )
    }

    fn token(&self, state: &mut State, asked: &Asked) -> Reply {
        // A client may prove itself in the header (each part percent-encoded) or in the body.
        let basic = asked.headers.get("authorization").and_then(|value| value.strip_prefix("Basic ")).map(|encoded| {
            let text = base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
            let text = String::from_utf8(text).expect("a text");
            let (id, secret) = text.split_once(':').expect("two parts");
            (decoded(id), decoded(secret))
        });
        let field = |name: &str| asked.form.get(name).cloned().unwrap_or_default();
        let (id, secret) = basic.unwrap_or_else(|| (field("client_id"), field("client_secret")));
        if asked.method != "POST" || (id.as_str(), secret.as_str()) != (CLIENT_ID, CLIENT_SECRET) {
            return Reply::Json(401, json!({"error": "invalid_client"}));
        }
        let Some(grant) = redeem(state, asked) else { return Reply::Json(400, json!({"error": "invalid_grant"})) };
        if let Some(reply) = misbehaviour(state.twist) {
            return reply;
        }
        let access_token = issue(state, "at", &grant.person);
        let mut answer = json!({"access_token": access_token, "token_type": "Bearer", "expires_in": 3600, "scope": "openid email profile"});
        if state.twist != Twist::NoIdToken {
            let id_token = self.id_token(state, &grant, &access_token);
            state.secrets.push(id_token.clone());
            answer["id_token"] = json!(id_token);
        }
        Reply::Json(200, answer)
    }

    fn id_token(&self, state: &State, grant: &Grant, access_token: &str) -> String {
        let twist = state.twist;
        let hash = digest::digest(&digest::SHA256, if twist == Twist::OtherAccessToken { b"other" } else { access_token.as_bytes() });
        let issued_at = if twist == Twist::Expired { state.now - 7_200 } else { state.now };
        let mut claims = json!({
            "iss": self.url(if twist == Twist::Issuer { "/other" } else { "/oidc" }),
            "aud": match twist {
                Twist::Audience => json!("somebody-else"),
                Twist::MoreAudiences => json!([CLIENT_ID, "somebody-else"]),
                _ => json!(CLIENT_ID),
            },
            "azp": if twist == Twist::OtherParty { "somebody-else" } else { CLIENT_ID },
            "iat": issued_at, "exp": issued_at + 3_600, "sub": grant.person.subject.to_string(),
            "nonce": if twist == Twist::Nonce { "another nonce" } else { &grant.nonce },
            "email": grant.person.email, "email_verified": grant.person.verified, "name": grant.person.name, "locale": "en-GB",
            "at_hash": URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]),
        });
        if twist == Twist::NoNonce {
            claims.as_object_mut().unwrap().remove("nonce");
        }
        let (algorithm, kid) = match twist {
            Twist::Unsigned => ("none", &*state.key.id),
            Twist::Symmetric => ("HS256", &*state.key.id),
            Twist::UnknownKey => (state.key.algorithm(), "nobody knows"),
            _ => (state.key.algorithm(), &*state.key.id),
        };
        let header = json!({"alg": algorithm, "kid": kid, "typ": "JWT"});
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = match twist {
            Twist::Unsigned => Vec::new(),
            Twist::Symmetric => {
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, CLIENT_SECRET.as_bytes());
                aws_lc_rs::hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
            }
            Twist::Key | Twist::UnknownKey => Key::rsa("stranger").sign(text.as_bytes()),
            _ => state.key.sign(text.as_bytes()),
        };
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The page on which a person agrees. Everything a careful provider insists on is insisted on.
fn authorize(state: &mut State, query: &HashMap<String, String>, issuer: Option<String>) -> Reply {
    let field = |name: &str| query.get(name).cloned().unwrap_or_default();
    let wrong = |what: &str| Reply::Text(400, "text/plain", format!("wrong: {what}"));
    let scopes = field("scope");
    let wanted: &[&str] = if issuer.is_some() { &["openid", "email", "profile"] } else { &["user:email"] };
    let redirect_uri = field("redirect_uri");
    if field("client_id") != CLIENT_ID || field("response_type") != "code" {
        return wrong("client_id or response_type");
    }
    if !state.redirect_uris.contains(&redirect_uri) {
        return wrong("redirect_uri");
    }
    if !wanted.iter().all(|scope| scopes.split(' ').any(|given| given == *scope)) {
        return wrong("scope");
    }
    if field("code_challenge_method") != "S256" || field("code_challenge").len() != 43 {
        return wrong("code_challenge");
    }
    if field("state").len() < 32 || (issuer.is_some() && field("nonce").len() < 32) {
        return wrong("state or nonce");
    }
    state.secrets.push(field("state"));
    let mut back = Url::parse(&redirect_uri).expect("a URL");
    back.query_pairs_mut().append_pair("state", &field("state"));
    if state.twist == Twist::Denied {
        back.query_pairs_mut().append_pair("error", "access_denied").append_pair("error_description", "<b>no</b>");
        return Reply::To(302, back.into());
    }
    let code = fresh(state, "code");
    let grant = Grant { redirect_uri, challenge: field("code_challenge"), nonce: field("nonce"), person: state.person.clone() };
    if !grant.nonce.is_empty() {
        state.secrets.push(grant.nonce.clone());
    }
    state.codes.insert(code.clone(), grant);
    back.query_pairs_mut().append_pair("code", &code);
    if let Some(issuer) = issuer {
        let issuer = if state.twist == Twist::ReturnIssuer { "http://127.0.0.1:9/other".to_owned() } else { issuer };
        back.query_pairs_mut().append_pair("iss", &issuer);
    }
    Reply::To(302, back.into())
}

/// Takes a code once, from whoever knows the verifier of its challenge.
fn redeem(state: &mut State, asked: &Asked) -> Option<Grant> {
    let field = |name: &str| asked.form.get(name).cloned().unwrap_or_default();
    let grant = state.codes.remove(&field("code"))?;
    let verifier = field("code_verifier");
    state.secrets.push(verifier.clone());
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    let fits = challenge == grant.challenge && field("redirect_uri") == grant.redirect_uri;
    (fits && field("grant_type") == "authorization_code").then_some(grant)
}

fn misbehaviour(twist: Twist) -> Option<Reply> {
    match twist {
        Twist::Fails => Some(Reply::Text(500, "text/html", "<h1>Error</h1>".to_owned())),
        Twist::Hangs => Some(Reply::Hang),
        Twist::Endless => Some(Reply::Text(200, "application/json", " ".repeat(1024 * 1024))),
        Twist::Redirects => Some(Reply::To(302, "http://127.0.0.1:9/elsewhere".to_owned())),
        Twist::NoJson => Some(Reply::Text(200, "application/json", "<html>definitely not json".to_owned())),
        _ => None,
    }
}

/// GitHub refuses with a good status, and says JSON only when asked for it.
fn github_token(state: &mut State, asked: &Asked) -> Reply {
    let field = |name: &str| asked.form.get(name).cloned().unwrap_or_default();
    if !asked.headers.get("accept").is_some_and(|accept| accept.contains("application/json")) {
        return Reply::Text(200, "application/x-www-form-urlencoded", "access_token=none".to_owned());
    }
    if (field("client_id").as_str(), field("client_secret").as_str()) != (CLIENT_ID, CLIENT_SECRET) {
        return Reply::Json(
            200,
            json!({"error": "incorrect_client_credentials", "error_description": "wrong", "error_uri": "https://docs"}),
        );
    }
    let Some(grant) = redeem(state, asked) else {
        return Reply::Json(200, json!({"error": "bad_verification_code", "error_description": "wrong", "error_uri": "https://docs"}));
    };
    if let Some(reply) = misbehaviour(state.twist) {
        return reply;
    }
    let token = issue(state, "gho", &grant.person);
    Reply::Json(200, json!({"access_token": token, "scope": "user:email", "token_type": "bearer"}))
}

fn api(state: &State, asked: &Asked) -> Reply {
    if !asked.headers.contains_key("user-agent") {
        return Reply::Text(403, "text/plain", "Request forbidden by administrative rules.".to_owned());
    }
    let token = asked.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let Some(person) = state.tokens.get(token) else { return Reply::Json(401, json!({"message": "Bad credentials"})) };
    if state.twist == Twist::DocumentFails {
        return Reply::Text(500, "text/html", "<h1>Error</h1>".to_owned());
    }
    if asked.path == "/api/user" {
        return Reply::Json(
            200,
            json!({"login": "ada", "id": person.subject, "node_id": "U_1", "name": null, "email": "public@example.com"}),
        );
    }
    Reply::Json(
        200,
        json!([
            {"email": "second@example.com", "primary": false, "verified": true, "visibility": null},
            {"email": person.email, "primary": true, "verified": person.verified, "visibility": "public"},
        ]),
    )
}

fn fresh(state: &mut State, kind: &str) -> String {
    state.count += 1;
    let secret = format!("{kind}-of-the-provider-{:05}", state.count);
    state.secrets.push(secret.clone());
    secret
}

fn issue(state: &mut State, kind: &str, person: &Known) -> String {
    let token = fresh(state, kind);
    state.tokens.insert(token.clone(), person.clone());
    token
}

fn decoded(text: &str) -> String {
    pairs(&format!("x={text}")).remove("x").unwrap_or_default()
}

fn pairs(query: &str) -> HashMap<String, String> {
    let url = Url::parse(&format!("http://x/?{query}")).expect("a query");
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut buffer = Vec::new();
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |value| value.parse().unwrap_or(0));
    while buffer.len() < head_end + length {
        if stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
    }
    let form = pairs(&String::from_utf8_lossy(&buffer[head_end..head_end + length]));
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Asked { method, path: path.to_owned(), query: pairs(query), headers, form })
}
