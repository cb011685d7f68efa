//! Where an upstream is called: base URL, path and query for an operation and a model.

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::presets::{Paths, Preset};
use crate::{
    dialect::Endpoint,
    domain::catalog::{AzureStyle, ProviderKind, UpstreamOptions},
};

/// All but what RFC 3986 leaves unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The first version that is generally available with everything we ask.
const AZURE_VERSION: &str = "2024-10-21";
/// The last version with realtime sessions below `/openai/realtime`.
const AZURE_REALTIME_VERSION: &str = "2025-04-01-preview";
const GEMINI_VERSION: &str = "v1beta";

/// Checks an upstream's base URL: what the vendor's SDK takes, for OpenAI-compatible servers with `/v1`. The error says what is wrong.
pub fn parse_base_url(text: &str) -> Result<Uri, String> {
    if text.contains('#') {
        return Err("the base URL must not have a fragment".to_owned());
    }
    let url: Uri = text.trim_end_matches('/').parse().map_err(|error| format!("the base URL cannot be read: {error}"))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err("the base URL must begin with http:// or https://".to_owned());
    }
    match url.authority() {
        Some(authority) if authority.as_str().contains('@') => Err("the base URL must not contain credentials".to_owned()),
        Some(authority) if authority.host().is_empty() => Err("the base URL needs a host".to_owned()),
        None => Err("the base URL needs a host".to_owned()),
        _ if url.query().is_some() => Err("the base URL must not have a query".to_owned()),
        _ => Ok(url),
    }
}

/// The base URL an upstream is called at: the given one, or the provider's own when that is empty. Checked.
pub fn base_url(kind: ProviderKind, given: &str, options: &UpstreamOptions) -> Result<String, String> {
    let chosen = if given.is_empty() { Preset::of(kind).base_url(options)? } else { given.to_owned() };
    parse_base_url(&chosen)?;
    Ok(chosen.trim_end_matches('/').to_owned())
}

/// The addresses of one upstream.
#[derive(Debug)]
pub struct Addresses {
    paths: Paths,
    /// Without a slash at its end, and without what `paths` adds.
    base: String,
    azure_style: AzureStyle,
    version: Option<String>,
    project: Option<String>,
    location: String,
    /// Those that do not depend on the model, made once.
    fixed: Vec<(Endpoint, Uri)>,
}

impl Addresses {
    pub fn new(paths: Paths, base_url: &str, options: &UpstreamOptions, speaks: &[Endpoint]) -> Result<Self, String> {
        let base = parse_base_url(base_url)?.to_string();
        let base = base.trim_end_matches('/');
        // People paste what they see in examples; what we add ourselves may be there already.
        let added: &[&str] = match paths {
            Paths::Azure => &["/openai/v1", "/openai"],
            Paths::Anthropic => &["/v1"],
            Paths::Gemini => &["/v1beta", "/v1"],
            Paths::Openai | Paths::Vertex | Paths::Bedrock | Paths::Cohere => &[],
        };
        let base = added.iter().find_map(|end| base.strip_suffix(end)).unwrap_or(base);
        let mut addresses = Self {
            paths,
            base: base.to_owned(),
            azure_style: options.azure_style.unwrap_or(AzureStyle::Deployments),
            version: options.api_version.clone(),
            project: options.project.clone(),
            location: options.location.clone().unwrap_or_else(|| "global".to_owned()),
            fixed: Vec::new(),
        };
        if matches!(paths, Paths::Openai | Paths::Anthropic | Paths::Cohere) {
            let made = speaks.iter().map(|endpoint| Ok((*endpoint, addresses.make(*endpoint, "", false, None)?)));
            addresses.fixed = made.collect::<Result<_, String>>()?;
        }
        Ok(addresses)
    }

    /// The address of one call. `project` is that of the key, for Vertex.
    pub fn call(&self, endpoint: Endpoint, model: &str, streamed: bool, project: Option<&str>) -> Result<Uri, String> {
        match self.fixed.iter().find(|(known, _)| *known == endpoint) {
            Some((_, uri)) => Ok(uri.clone()),
            None => self.make(endpoint, model, streamed, project),
        }
    }

    fn make(&self, endpoint: Endpoint, model: &str, streamed: bool, project: Option<&str>) -> Result<Uri, String> {
        let base = &self.base;
        // What the caller's route is called, below its version.
        let operation = || endpoint.path().trim_start_matches("/v1");
        let text = match self.paths {
            Paths::Openai => format!("{base}{}", operation()),
            Paths::Azure => self.azure(endpoint, model, operation()),
            Paths::Anthropic => format!("{base}{}", endpoint.path()),
            Paths::Cohere => format!("{base}/v2/rerank"),
            Paths::Gemini => {
                let model = model.strip_prefix("models/").unwrap_or(model);
                let folder = if model.starts_with("tunedModels/") { "" } else { "models/" };
                let version = self.version.as_deref().unwrap_or(GEMINI_VERSION);
                format!("{base}/{version}/{folder}{}{}", encode_path(model), google_verb(endpoint, streamed)?)
            }
            Paths::Vertex => {
                let model = model.strip_prefix("publishers/google/models/").or_else(|| model.strip_prefix("google/")).unwrap_or(model);
                let place = self.place(project).map(|place| format!("{place}/")).unwrap_or_default();
                format!("{base}/v1/{place}publishers/google/models/{}{}", encode(model), google_verb(endpoint, streamed)?)
            }
            Paths::Bedrock => format!("{base}/model/{}/{}", encode(model), if streamed { "converse-stream" } else { "converse" }),
        };
        text.parse().map_err(|error| format!("no URL can be made for the model '{model}': {error}"))
    }

    fn azure(&self, endpoint: Endpoint, model: &str, operation: &str) -> String {
        let base = &self.base;
        // Responses exist below /openai/v1 only.
        if self.azure_style == AzureStyle::V1 || endpoint == Endpoint::Responses {
            let version = self.version.as_deref().filter(|_| self.azure_style == AzureStyle::V1);
            let query = version.map(|version| format!("?api-version={}", encode(version))).unwrap_or_default();
            return format!("{base}/openai/v1{operation}{query}");
        }
        let version = encode(self.version.as_deref().unwrap_or(AZURE_VERSION));
        format!("{base}/openai/deployments/{}{operation}?api-version={version}", encode(model))
    }

    /// Where a realtime session of a model is opened; the scheme is that of the base URL.
    pub fn realtime(&self, model: &str) -> Result<Uri, String> {
        let (base, name) = (&self.base, encode(model));
        let text = match self.paths {
            Paths::Openai => format!("{base}/realtime?model={name}"),
            Paths::Azure if self.azure_style == AzureStyle::V1 => format!("{base}/openai/v1/realtime?model={name}"),
            Paths::Azure => {
                let version = encode(self.version.as_deref().unwrap_or(AZURE_REALTIME_VERSION));
                format!("{base}/openai/realtime?api-version={version}&deployment={name}")
            }
            _ => return Err("this upstream has no realtime sessions".to_owned()),
        };
        text.parse().map_err(|error| format!("no URL can be made for the model '{model}': {error}"))
    }

    /// The project and place on Vertex; a key without a project is used in express mode.
    fn place(&self, project: Option<&str>) -> Option<String> {
        let project = project.or(self.project.as_deref())?;
        Some(format!("projects/{}/locations/{}", encode(project), encode(&self.location)))
    }

    /// Something to ask that costs nothing.
    pub fn probe(&self, project: Option<&str>) -> Result<Uri, String> {
        let base = &self.base;
        let text = match self.paths {
            Paths::Openai => format!("{base}/models"),
            Paths::Azure if self.azure_style == AzureStyle::V1 => format!("{base}/openai/v1/models"),
            Paths::Azure => format!("{base}/openai/models?api-version={}", encode(self.version.as_deref().unwrap_or(AZURE_VERSION))),
            Paths::Anthropic => format!("{base}/v1/models?limit=1"),
            Paths::Cohere => format!("{base}/v1/models?page_size=1"),
            Paths::Gemini => format!("{base}/{}/models?pageSize=1", self.version.as_deref().unwrap_or(GEMINI_VERSION)),
            Paths::Vertex => match self.place(project) {
                Some(place) => format!("{base}/v1/{place}"),
                None => format!("{base}/v1beta1/publishers/google/models?pageSize=1"),
            },
            // The runtime has no list of models; this list is served beside them.
            Paths::Bedrock => format!("{base}/async-invoke?maxResults=1"),
        };
        text.parse().map_err(|error| format!("the base URL cannot be read: {error}"))
    }
}

/// The region inside a host of AWS: `bedrock-runtime.eu-west-1.amazonaws.com`.
pub fn region(base_url: &str) -> Option<&str> {
    let host = base_url.split_once("://")?.1.split(['/', ':']).next()?;
    let mut parts = host.split('.');
    let is_bedrock = parts.next()?.starts_with("bedrock-runtime");
    let region = parts.next()?;
    let is_amazon = parts.next()? == "amazonaws";
    (is_bedrock && is_amazon).then_some(region)
}

fn google_verb(endpoint: Endpoint, streamed: bool) -> Result<&'static str, String> {
    Ok(match endpoint {
        Endpoint::GenerateContent if streamed => ":streamGenerateContent?alt=sse",
        Endpoint::GenerateContent => ":generateContent",
        Endpoint::EmbedContent => ":embedContent",
        Endpoint::BatchEmbedContents => ":batchEmbedContents",
        other => return Err(format!("this upstream is not called at {}", other.path())),
    })
}

fn encode(segment: &str) -> String {
    utf8_percent_encode(segment, SEGMENT).to_string()
}

/// As [`encode`], with slashes as they are.
fn encode_path(path: &str) -> String {
    path.split('/').map(encode).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: ProviderKind, base: &str, options: &str, call: (Endpoint, &str, bool), expected: &str) {
        let options: UpstreamOptions = serde_json::from_str(options).unwrap();
        let preset = Preset::of(kind);
        let base = base_url(kind, base, &options).unwrap();
        let addresses = Addresses::new(preset.paths, &base, &options, &preset.speaks(&options).unwrap()).unwrap();
        let (endpoint, model, streamed) = call;
        assert_eq!(addresses.call(endpoint, model, streamed, None).unwrap().to_string(), expected);
    }

    #[test]
    fn every_vendor_is_called_at_its_own_paths() {
        use Endpoint as E;
        use ProviderKind as P;
        check(P::Openai, "", "{}", (E::ChatCompletions, "m", true), "https://api.openai.com/v1/chat/completions");
        check(P::Openai, "http://h:1/v1/", "{}", (E::ImageEdits, "m", false), "http://h:1/v1/images/edits");
        check(P::Groq, "", "{}", (E::Transcriptions, "m", false), "https://api.groq.com/openai/v1/audio/transcriptions");
        check(P::Anthropic, "", "{}", (E::Messages, "m", true), "https://api.anthropic.com/v1/messages");
        check(P::Anthropic, "http://h/v1", "{}", (E::Messages, "m", false), "http://h/v1/messages");
        check(P::Cohere, "", "{}", (E::CohereRerank, "m", false), "https://api.cohere.com/v2/rerank");
        let azure = "https://x.openai.azure.com";
        let chat = (E::ChatCompletions, "my deployment", false);
        let deployed = "https://x.openai.azure.com/openai/deployments/my%20deployment/chat/completions?api-version=";
        check(P::Azure, azure, "{}", chat, &format!("{deployed}2024-10-21"));
        check(P::Azure, azure, r#"{"api_version":"2025-01-01-preview"}"#, chat, &format!("{deployed}2025-01-01-preview"));
        check(P::Azure, &format!("{azure}/openai"), "{}", chat, &format!("{deployed}2024-10-21"));
        let v1 = r#"{"azure_style":"v1"}"#;
        check(P::Azure, azure, v1, chat, "https://x.openai.azure.com/openai/v1/chat/completions");
        check(P::Azure, &format!("{azure}/openai/v1/"), v1, chat, "https://x.openai.azure.com/openai/v1/chat/completions");
        check(P::Azure, azure, "{}", (E::Responses, "m", true), "https://x.openai.azure.com/openai/v1/responses");
    }

    #[test]
    fn google_and_amazon_have_the_model_in_the_path() {
        use Endpoint as E;
        use ProviderKind as P;
        let gemini = "https://generativelanguage.googleapis.com";
        let at = |path: &str| format!("{gemini}{path}");
        check(P::Gemini, "", "{}", (E::GenerateContent, "gemini-2.5-pro", false), &at("/v1beta/models/gemini-2.5-pro:generateContent"));
        check(P::Gemini, "", "{}", (E::GenerateContent, "models/m", true), &at("/v1beta/models/m:streamGenerateContent?alt=sse"));
        check(
            P::Gemini,
            "",
            r#"{"api_version":"v1"}"#,
            (E::GenerateContent, "tunedModels/t", false),
            &at("/v1/tunedModels/t:generateContent"),
        );
        check(P::Gemini, "http://h/v1beta", "{}", (E::BatchEmbedContents, "e", false), "http://h/v1beta/models/e:batchEmbedContents");
        check(P::Gemini, "http://h", "{}", (E::EmbedContent, "a?b", false), "http://h/v1beta/models/a%3Fb:embedContent");
        let placed = r#"{"project":"p-1","location":"us-central1"}"#;
        check(
            P::Vertex,
            "",
            placed,
            (E::GenerateContent, "google/gemini-2.5-pro", true),
            "https://us-central1-aiplatform.googleapis.com/v1/projects/p-1/locations/us-central1/publishers/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
        );
        check(P::Vertex, "http://h", "{}", (E::GenerateContent, "m", false), "http://h/v1/publishers/google/models/m:generateContent");
        let region = r#"{"region":"us-east-1"}"#;
        let claude = (E::Converse, "anthropic.claude-3-5-sonnet-20240620-v1:0", true);
        check(
            P::Bedrock,
            "",
            region,
            claude,
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse-stream",
        );
        let profile = (E::Converse, "arn:aws:bedrock:us-east-1:1:inference-profile/x", false);
        check(
            P::Bedrock,
            "http://h",
            region,
            profile,
            "http://h/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fx/converse",
        );
    }

    #[test]
    fn realtime_sessions_name_the_model_in_the_query() {
        let check = |kind, base: &str, options: &str, expected: &str| {
            let options: UpstreamOptions = serde_json::from_str(options).unwrap();
            let base = base_url(kind, base, &options).unwrap();
            let addresses = Addresses::new(Preset::of(kind).paths, &base, &options, &[Endpoint::Realtime]).unwrap();
            assert_eq!(addresses.realtime("my voice").map(|uri| uri.to_string()).unwrap_or_default(), expected);
        };
        check(ProviderKind::Openai, "", "{}", "https://api.openai.com/v1/realtime?model=my%20voice");
        let azure = "https://x.openai.azure.com";
        let below = "https://x.openai.azure.com/openai";
        check(ProviderKind::Azure, azure, "{}", &format!("{below}/realtime?api-version=2025-04-01-preview&deployment=my%20voice"));
        check(ProviderKind::Azure, azure, r#"{"azure_style":"v1"}"#, &format!("{below}/v1/realtime?model=my%20voice"));
        check(ProviderKind::Anthropic, "", "{}", "");
    }

    #[test]
    fn regions_are_read_from_amazons_hosts() {
        assert_eq!(region("https://bedrock-runtime.eu-west-3.amazonaws.com"), Some("eu-west-3"));
        assert_eq!(region("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com:443/x"), Some("us-gov-west-1"));
        assert_eq!(region("http://127.0.0.1:1"), None);
        assert_eq!(region("https://bedrock-runtime.example.org"), None);
    }

    #[test]
    fn base_urls_are_checked() {
        for good in ["https://api.openai.com/v1", "http://127.0.0.1:8000/v1/", "http://[::1]:8000", "https://host/a/b"] {
            assert!(parse_base_url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/v1",
            "api.openai.com/v1",
            "ftp://host/v1",
            "https://user:pw@host/v1",
            "https://host/v1#x",
            "https://host/v1?a=b",
            "http://",
        ] {
            assert!(parse_base_url(bad).is_err(), "{bad}");
        }
    }
}
