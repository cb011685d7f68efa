//! What must be there before the first call: built-in models, what settings ask for, and on the very first start an admin, a demo key
//! and words on how to use them.

use std::fmt;

use super::StartError;
use crate::{
    config::Settings,
    control::{self, Actor, Control, ControlError, catalog, sign_in},
    dialect::credits_text,
    domain::{Micros, catalog::ProviderKind},
    telemetry::redact::Secret,
};

/// Shown once, on the first start.
pub struct Welcome {
    base_url: String,
    sign_in_token: String,
    key: Secret,
    demo_credits: Micros,
}

impl fmt::Display for Welcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base_url, sign_in_token, key, demo_credits } = self;
        let key = key.expose();
        writeln!(out, "\nPixgate serves on {base_url}. This is its first start; what follows is shown once.\n")?;
        writeln!(out, "  Sign in as admin   {base_url}/auth/link?token={sign_in_token}")?;
        writeln!(out, "  API key            {key}")?;
        writeln!(out, "                     (may call models and the admin API; {} demo credits)\n", credits_text(*demo_credits))?;
        writeln!(out, "  Make the first call:\n")?;
        writeln!(out, "curl -s {base_url}/v1/chat/completions \\")?;
        writeln!(out, "  -H \"Authorization: Bearer {key}\" \\")?;
        writeln!(out, "  -H \"Content-Type: application/json\" \\")?;
        writeln!(out, "  -d '{{\"model\":\"pixgate/echo\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello, Pixgate\"}}]}}'\n")?;
        writeln!(out, "  API reference      {base_url}/docs")
    }
}

/// Makes everything that has to be there. Answers with what to print on the first start.
pub async fn prepare(control: &Control, settings: &Settings) -> Result<Option<Welcome>, StartError> {
    control::bootstrap::ensure_builtin(control).await?;
    ensure_providers(control, settings).await?;
    control.catalog.reload().await.map_err(|error| StartError::Internal(error.to_string()))?;
    control.screening.reload().await.map_err(|error| StartError::Internal(error.to_string()))?;
    let demo_credits = settings.bootstrap.demo_credits_micros;
    let welcome = match control::bootstrap::first_start(control, demo_credits).await? {
        Some(created) => {
            let sign_in_token = sign_in::create_link(control, &created.key.account_id).await?;
            Some(Welcome { base_url: settings.public_url(), sign_in_token, key: created.text, demo_credits })
        }
        None => None,
    };
    if let Some(key) = &settings.bootstrap.admin_key {
        control::bootstrap::ensure_admin_key(control, key).await.map_err(|error| match error {
            ControlError::Invalid { .. } | ControlError::Conflict(_) => StartError::Settings(error.to_string()),
            error => StartError::Control(error),
        })?;
    }
    Ok(welcome)
}

/// The upstreams that settings such as `OPENAI_API_KEY` ask for. Key and base URL follow the settings; everything else an admin may change.
async fn ensure_providers(control: &Control, settings: &Settings) -> Result<(), StartError> {
    let actor = Actor::system();
    for seed in settings.providers.seeds() {
        let Some(provider) = ProviderKind::parse(seed.name) else { continue };
        let outcome = match catalog::get_upstream(control, seed.name).await {
            Ok(known) => {
                // Of another provider's upstream that happens to have this name, the own address would be the wrong one.
                let base_url = seed.base_url.or_else(|| (known.provider == provider).then(String::new));
                let patch = catalog::UpstreamPatch { base_url, api_key: Some(seed.api_key), ..catalog::UpstreamPatch::default() };
                catalog::patch_upstream(control, &actor, seed.name, patch).await
            }
            Err(ControlError::NotFound(_)) => {
                let new = catalog::NewUpstream {
                    base_url: seed.base_url,
                    api_key: seed.api_key,
                    ..catalog::NewUpstream::of(seed.name, provider)
                };
                catalog::create_upstream(control, &actor, new).await
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(_) => {}
            Err(ControlError::Invalid { message, .. }) => return Err(StartError::Settings(format!("{}: {message}", seed.name))),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
