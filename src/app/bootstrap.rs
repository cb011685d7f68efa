//! What must be there before the first call: built-in models, what settings ask for, and on the very first start an admin, a demo key
//! and words on how to use them.

use std::{fmt, net::SocketAddr};

use super::StartError;
use crate::{
    config::Settings,
    control::{Actor, Control, accounts, catalog, credits, keys, sign_in},
    domain::api_key::Scope,
    store,
};

const ADMIN_EMAIL: &str = "admin@localhost";

/// Shown once, on the first start.
pub struct Welcome {
    base_url: String,
    sign_in_link: String,
    /// In clear, here only.
    key: String,
    demo_credits_micros: i64,
}

impl fmt::Display for Welcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base_url, sign_in_link, key, demo_credits_micros } = self;
        let credits = crate::dialect::openai::credits_text(*demo_credits_micros);
        writeln!(out, "\nPixgate serves on {base_url}. This is its first start; what follows is shown once.\n")?;
        writeln!(out, "  Sign in as admin   {sign_in_link}")?;
        writeln!(out, "  API key            {key}")?;
        writeln!(out, "                     (scopes inference and admin, {credits} demo credits)\n")?;
        writeln!(out, "  Make the first call:\n")?;
        writeln!(out, "curl -s {base_url}/v1/chat/completions \\")?;
        writeln!(out, "  -H \"Authorization: Bearer {key}\" \\")?;
        writeln!(out, "  -H \"Content-Type: application/json\" \\")?;
        writeln!(out, "  -d '{{\"model\":\"pixgate/echo\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello, Pixgate\"}}]}}'\n")?;
        writeln!(out, "  API reference      {base_url}/docs")
    }
}

/// Makes everything that has to be there. Answers with what to print on the first start.
pub async fn prepare(control: &Control, settings: &Settings, address: SocketAddr) -> Result<Option<Welcome>, StartError> {
    let actor = Actor::system();
    let first = store::accounts::count(&control.db).await? == 0;
    catalog::ensure_builtin(control).await?;
    if let Some(seed) = settings.openai.seed() {
        let api_key = seed.api_key.as_ref().map(|key| key.expose().to_owned());
        catalog::ensure_upstream(control, "openai", &seed.base_url, api_key).await?;
    }
    control.catalog.reload().await.map_err(|error| StartError::Internal(error.to_string()))?;
    let welcome = if first { Some(first_start(control, settings, &actor, address).await?) } else { None };
    if let Some(key) = &settings.bootstrap.admin_key {
        keys::ensure_admin_key(control, key.expose()).await?;
    }
    Ok(welcome)
}

async fn first_start(control: &Control, settings: &Settings, actor: &Actor, address: SocketAddr) -> Result<Welcome, StartError> {
    let base_url = settings.server.public_url.clone().unwrap_or_else(|| format!("http://{address}")).trim_end_matches('/').to_owned();
    let admin = accounts::create_operator(control, ADMIN_EMAIL).await?;
    let new = keys::NewKey { title: "First key".to_owned(), scopes: Some(vec![Scope::Inference, Scope::Admin]), ..keys::NewKey::default() };
    let created = keys::create(control, actor, &admin.id, new).await?;
    let demo_credits_micros = settings.bootstrap.demo_credits_micros;
    if demo_credits_micros > 0 {
        credits::grant_demo(control, &admin.id, demo_credits_micros).await?;
    }
    let token = sign_in::create_link(control, &admin.id).await?;
    Ok(Welcome { sign_in_link: format!("{base_url}/auth/link?token={token}"), base_url, key: created.secret, demo_credits_micros })
}
