//! The OpenAPI document: every route, collected from the annotations on the handlers.

use serde_json::{Value, json};
use utoipa::{
    Modify, OpenApi as _,
    openapi::{
        Content, OpenApi, PathItem, Ref, RefOr, Response,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::http::{account, admin, api, compat, hooks, operations, provider_keys};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Pixgate",
        description = "One API key and one prepaid credit balance for every model. Amounts are integers in micros (1 credit = 1 000 000 micros), \
            times are RFC 3339 in UTC, and lists are `{\"data\":[…],\"has_more\":…,\"next_cursor\":…}`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/", description = "This gateway")),
    tags(
        (name = "Models", description = "Model calls, in the wire formats of OpenAI, Anthropic and Gemini, and the catalogue as a key sees it."),
        (name = "Files", description = "Files of an account, which calls can name instead of sending them; in the shapes of OpenAI and Anthropic."),
        (name = "Caller", description = "What a key may know about itself and its account."),
        (name = "Compatibility", description = "What scripts written for LiteLLM, one-api, new-api and OpenRouter call; docs/compatibility.md has every field."),
        (name = "Account", description = "For the owner of an account, signed in by link or with a key of scope `account`."),
        (name = "Tickets", description = "Support: what owners ask, with messages and attachments."),
        (name = "Admin: accounts", description = "Customers of this gateway. Admin routes need a key of scope `admin`."),
        (name = "Admin: credits", description = "Grants, balances and ledgers."),
        (name = "Admin: keys", description = "API keys. A change counts for a key's very next call."),
        (name = "Admin: catalogue", description = "Upstreams, and the models that route to them. A change counts for the very next call, without a restart."),
        (name = "Admin: mails", description = "The outbox: what is sent, what waits and what was given up."),
        (name = "Admin: usage", description = "Every call, and every change an admin made."),
        (name = "Admin: screening", description = "Rules that look at what callers send, before anything is held or any upstream is called."),
        (name = "Admin: node", description = "This node and its actors."),
        (name = "Admin: tickets", description = "Support: answers, internal notes, assignees."),
        (name = "Admin: privacy", description = "What people ask about their data, and how long it is kept."),
        (name = "Operations", description = "For whoever runs the gateway. These routes need no key.")
    ),
    paths(
        api::completions::chat_completions,
        api::completions::completions,
        api::completions::embeddings,
        api::realtime::connect,
        api::media::moderations,
        api::media::rerank,
        api::media::image_generations,
        api::media::image_edits,
        api::media::speech,
        api::media::transcriptions,
        api::media::translations,
        api::messages::messages,
        api::messages::count_tokens,
        api::responses::create,
        api::responses::input_tokens,
        api::responses::retrieve,
        api::responses::delete_response,
        api::responses::list_input_items,
        api::responses::cancel,
        api::files::upload_file,
        api::files::list_files,
        api::files::retrieve_file,
        api::files::delete_file,
        api::files::download_file,
        api::gemini::call_model,
        api::gemini::call_tuned_model,
        api::models::list,
        api::models::get,
        api::models::list_gemini,
        api::models::get_gemini,
        api::caller::key,
        api::caller::credits,
        api::caller::usage,
        api::caller::generation,
        api::caller::generation_content,
        compat::litellm::generate_key,
        compat::litellm::key_info,
        compat::litellm::update_key,
        compat::litellm::delete_keys,
        compat::litellm::block_key,
        compat::litellm::unblock_key,
        compat::litellm::regenerate_key,
        compat::litellm::new_user,
        compat::litellm::user_info,
        compat::one_api::billing_subscription,
        compat::one_api::billing_usage,
        compat::one_api::token_usage,
        compat::one_api::one_api_status,
        compat::openrouter::openrouter_models,
        account::keys::list_own_keys,
        account::keys::create_own_key,
        account::keys::get_own_key,
        account::keys::patch_own_key,
        account::keys::revoke_own_key,
        account::keys::rotate_own_key,
        account::keys::list_audit_of_own_key,
        account::keys::report_leak,
        hooks::secret_scanning::report_found_keys,
        account::session::link,
        account::session::me,
        account::tickets::list_tickets,
        account::tickets::open_ticket,
        account::tickets::get_ticket,
        account::tickets::patch_ticket,
        account::tickets::list_messages,
        account::tickets::write_message,
        account::tickets::list_attachments,
        account::tickets::attach_file,
        account::tickets::get_attachment,
        account::me::patch_me,
        account::content::get_content,
        account::content::delete_content,
        account::content::delete_all_content,
        account::privacy::delete_me,
        account::privacy::export_me,
        account::privacy::get_export,
        account::privacy::send_code,
        account::privacy::get_switches,
        account::privacy::patch_switches,
        account::privacy::ask_by_mail,
        account::privacy::confirm_request,
        account::privacy::cancel_deletion,
        account::auth::register,
        account::auth::verify,
        account::auth::resend,
        account::auth::login,
        account::auth::logout,
        account::auth::forgot,
        account::auth::reset,
        account::auth::confirm_email,
        account::identities::begin_oauth,
        account::identities::oauth_callback,
        account::identities::oauth_second_factor,
        account::identities::list_identities,
        account::identities::link_identity,
        account::identities::unlink_identity,
        account::members::list_members,
        account::members::patch_member,
        account::members::remove_member,
        account::members::invite,
        account::members::list_invitations,
        account::members::withdraw_invitation,
        account::members::accept_invitation,
        account::members::list_own_accounts,
        account::me::list_sessions,
        account::me::end_session,
        account::me::end_sessions,
        account::me::enroll_totp,
        account::me::confirm_totp,
        account::me::remove_totp,
        account::me::recovery_codes,
        account::me::security_events,
        account::image::put_image,
        account::image::get_image,
        account::image::delete_image,
        account::policies::options,
        account::policies::get_policy,
        account::policies::list_own,
        account::policies::accept,
        admin::people::list_sessions_of,
        admin::people::end_sessions_of,
        admin::people::end_session_of,
        admin::people::list_security_events_of,
        admin::people::get_sign_up_of,
        admin::people::create_sign_in_link,
        admin::policies::list_policies,
        admin::policies::publish_policy,
        admin::domains::list_domains,
        admin::domains::add_domain,
        admin::domains::remove_domain,
        provider_keys::list_provider_keys,
        provider_keys::get_provider_key,
        provider_keys::put_provider_key,
        provider_keys::delete_provider_key,
        admin::accounts::create_account,
        admin::accounts::list_accounts,
        admin::accounts::get_account,
        admin::accounts::patch_account,
        admin::credits::create_grant,
        admin::credits::list_grants,
        admin::credits::revoke_grant,
        admin::credits::get_balance,
        admin::credits::list_ledger,
        admin::credits::check_ledger,
        admin::keys::create_key,
        admin::keys::list_keys_of,
        admin::keys::list_keys,
        admin::keys::get_key,
        admin::keys::patch_key,
        admin::keys::revoke_key,
        admin::keys::rotate_key,
        admin::keys::list_audit_of_key,
        admin::keys::key_storage,
        admin::catalog::create_upstream,
        admin::catalog::list_upstreams,
        admin::catalog::get_upstream,
        admin::catalog::patch_upstream,
        admin::catalog::delete_upstream,
        admin::catalog::test_upstream,
        admin::catalog::start_drill,
        admin::catalog::end_drill,
        admin::catalog::create_model,
        admin::catalog::list_models,
        admin::catalog::get_model,
        admin::catalog::list_prices,
        admin::catalog::import_models,
        admin::catalog::patch_model,
        admin::catalog::delete_model,
        admin::mails::list_mails,
        admin::mails::get_mail,
        admin::mails::retry_mail,
        admin::mails::delete_mail,
        admin::mails::test_mail,
        admin::usage::list_usage,
        admin::usage::list_usage_of,
        admin::usage::list_audit,
        admin::node::get_node,
        admin::node::get_actors,
        admin::content::read_content,
        admin::content::forget_content,
        admin::privacy::list_requests,
        admin::privacy::enter_request,
        admin::privacy::get_request,
        admin::privacy::decide_request,
        admin::privacy::signing_key,
        admin::privacy::retention,
        admin::tickets::list_all_tickets,
        admin::tickets::get_any_ticket,
        admin::tickets::triage_ticket,
        admin::tickets::list_all_messages,
        admin::tickets::answer_ticket,
        admin::tickets::list_all_attachments,
        admin::tickets::attach_for_staff,
        admin::tickets::get_any_attachment,
        admin::tickets::delete_attachment,
        admin::screening::create_rule,
        admin::screening::list_rules,
        admin::screening::get_rule,
        admin::screening::patch_rule,
        admin::screening::delete_rule,
        admin::screening::test_rules,
        admin::screening::import_rules,
        admin::screening::list_hits,
        admin::screening::get_hit,
        admin::screening::release_hit,
        admin::screening::list_exemptions,
        admin::screening::delete_exemption,
        operations::healthz,
        operations::readyz,
        operations::metrics_page,
        super::serve_document,
        super::serve_page,
    ),
    components(schemas(ErrorAnswer, AnthropicErrorAnswer, GeminiErrorAnswer)),
    modifiers(&Completed)
)]
struct Documented;

/// Every answer that is not the one asked for.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it describes what dialect::openai::errors writes")]
struct ErrorAnswer {
    error: ErrorDetail,
}

#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it describes what dialect::openai::errors writes")]
struct ErrorDetail {
    /// What went wrong and what to do about it.
    message: String,
    #[schema(example = "invalid_request_error")]
    r#type: String,
    /// The field, parameter or header it is about.
    #[schema(required)]
    param: Option<String>,
    /// For programs, for example `insufficient_credits`.
    #[schema(example = "invalid_request")]
    code: String,
    /// The answer's `x-request-id`.
    request_id: String,
    /// Which limit refused the call: `rpm`, `rpd`, `tpm`, `concurrency` or `budget`.
    #[schema(nullable = false)]
    limit: Option<String>,
    /// Whose limit: `key`, `account`, `ip`, `plan` or `upstream`.
    #[schema(nullable = false)]
    scope: Option<String>,
}

/// An error as Anthropic's SDKs read it.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it describes what dialect::anthropic::errors writes")]
struct AnthropicErrorAnswer {
    #[schema(example = "error")]
    r#type: String,
    error: AnthropicErrorDetail,
    /// The answer's `request-id`.
    request_id: String,
}

#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it describes what dialect::anthropic::errors writes")]
struct AnthropicErrorDetail {
    #[schema(example = "invalid_request_error")]
    r#type: String,
    /// What went wrong and what to do about it.
    message: String,
    /// For programs, for example `insufficient_credits`.
    code: String,
    /// The field, parameter or header it is about.
    #[schema(nullable = false)]
    param: Option<String>,
}

/// An error as Google's SDKs read it.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it describes what dialect::gemini::errors writes")]
struct GeminiErrorAnswer {
    error: GeminiErrorDetail,
}

#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it describes what dialect::gemini::errors writes")]
struct GeminiErrorDetail {
    /// The HTTP status.
    code: u16,
    /// What went wrong and what to do about it.
    message: String,
    #[schema(example = "INVALID_ARGUMENT")]
    status: String,
    /// Our own code and the request's id, as `google.rpc.ErrorInfo`.
    details: Vec<serde_json::Value>,
}

/// The schema of the errors of a path's dialect. Where several dialects share a path, callers of the others get theirs.
fn error_schema(path: &str) -> &'static str {
    match path {
        _ if path.starts_with("/v1/messages") => "AnthropicErrorAnswer",
        _ if path.starts_with("/v1beta/") => "GeminiErrorAnswer",
        _ => "ErrorAnswer",
    }
}

/// Adds what is the same everywhere.
struct Completed;

impl Modify for Completed {
    fn modify(&self, document: &mut OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "An API key, as `Authorization: Bearer KEY`. `x-api-key`, `api-key`, `x-goog-api-key` and `?key=` work as well.",
        ));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(bearer.build()));
        for (path, item) in &mut document.paths.paths {
            for operation in operations(item) {
                complete(operation, error_schema(path));
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten()
}

/// Routes behind a key can refuse it; all errors of a dialect have one shape.
fn complete(operation: &mut Operation, error_schema: &str) {
    let is_admin = operation.tags.iter().flatten().any(|tag| tag.starts_with("Admin"));
    let mut common: Vec<(&str, &str)> = Vec::new();
    if operation.security.is_some() {
        common.push(("401", "`invalid_api_key`"));
        common.push((
            "403",
            if is_admin { "The key lacks the scope `admin`, or may not be used now" } else { "The key may not be used for this" },
        ));
        common.push(("503", "`overloaded` or `draining`, with Retry-After"));
    }
    if operation.request_body.is_some() || operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty()) {
        common.push(("400", "`invalid_request`"));
    }
    if operation.request_body.is_some() {
        common.push(("413", "`request_too_large`"));
    }
    let responses = &mut operation.responses.responses;
    let covers = |range: &str, status: &str| range == status || (range.ends_with("XX") && range.get(..1) == status.get(..1));
    for (status, description) in common {
        if !responses.keys().any(|known| covers(known, status)) {
            responses.insert(status.to_owned(), RefOr::T(Response::new(description)));
        }
    }
    // Readiness says in its own words what is missing.
    let is_own_shape = operation.tags.iter().flatten().any(|tag| tag == "Operations");
    let errors = responses.iter_mut().filter(|(status, _)| status.starts_with(['4', '5']) && !is_own_shape);
    for (_, response) in errors {
        if let RefOr::T(response) = response
            && response.content.is_empty()
        {
            let schema = RefOr::Ref(Ref::from_schema_name(error_schema));
            response.content.insert("application/json".to_owned(), RefOr::T(Content::new(Some(schema))));
        }
    }
    for (status, response) in responses.iter_mut() {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            response.description = if status == "201" { "Created" } else { "Done" }.to_owned();
        }
    }
}

/// The document as a tree.
#[expect(clippy::expect_used, reason = "the document is a constant without anything that cannot be written; a test writes it")]
pub fn document() -> Value {
    let mut document = serde_json::to_value(Documented::openapi()).expect("the document can be written");
    write_numbers_out(&mut document);
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        schemas.remove("i64");
    }
    document
}

/// Amounts are an alias of `i64`, which the annotations take for the name of a schema.
fn write_numbers_out(value: &mut Value) {
    match value {
        Value::Object(members) if members.get("$ref").is_some_and(|name| name == "#/components/schemas/i64") => {
            members.remove("$ref");
            members.insert("type".to_owned(), json!("integer"));
            members.insert("format".to_owned(), json!("int64"));
        }
        Value::Object(members) => members.values_mut().for_each(write_numbers_out),
        Value::Array(items) => items.iter_mut().for_each(write_numbers_out),
        _ => {}
    }
}

/// The document as text, as `/openapi.json` and the command `openapi` show it.
#[expect(clippy::expect_used, reason = "the document is a constant without anything that cannot be written; a test writes it")]
pub fn openapi_json() -> String {
    serde_json::to_string_pretty(&document()).expect("the document can be written")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    const UPDATE: &str = "PIXGATE_TEST_UPDATE_DOCS";

    #[test]
    #[allow(clippy::disallowed_methods, reason = "tests are steered by the environment")]
    fn the_committed_document_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        let text = openapi_json() + "\n";
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "docs/openapi.json is not what the routes say; run the tests with {UPDATE}=1 and commit it");
    }

    #[test]
    fn no_annotated_route_is_forgotten() {
        fn count(folder: &Path) -> usize {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            let attribute = concat!("#[utoipa", "::path(");
            entries
                .map(|path| if path.is_dir() { count(&path) } else { std::fs::read_to_string(path).unwrap().matches(attribute).count() })
                .sum()
        }
        let annotated = count(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http"));
        let document = document();
        let documented: usize = document["paths"].as_object().unwrap().values().map(|item| item.as_object().unwrap().len()).sum();
        assert_eq!(documented, annotated, "add new handlers to `paths(…)` of the document");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut references = BTreeSet::new();
        collect_references(&document, &mut references);
        assert!(!references.is_empty());
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn operations_have_names_tags_and_known_errors() {
        let document = document();
        let tags: BTreeSet<&str> = document["tags"].as_array().unwrap().iter().filter_map(|tag| tag["name"].as_str()).collect();
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let name = format!("{method} {path}");
                assert!(operation["summary"].is_string(), "{name} has no summary");
                assert!(operation["tags"][0].as_str().is_some_and(|tag| tags.contains(tag)), "{name} has no known tag");
                assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{name} shares its operationId");
                let is_open = operation.get("security").is_none();
                let may_be_open = operation["tags"][0] == "Operations"
                    || path.starts_with("/auth/")
                    || path.starts_with("/api/v1/policies/")
                    || path.starts_with("/api/v1/privacy-requests")
                    || (path.starts_with("/api/v1/auth/") && path != "/api/v1/auth/logout");
                assert_eq!(is_open, may_be_open, "{name}: only operations, signing in, policies and privacy requests need no key");
                assert!(is_open || operation["responses"].get("401").or(operation["responses"].get("4XX")).is_some(), "{name}");
                let in_path = path.matches('{').count();
                let parameters = operation["parameters"].as_array().map_or(0, |all| all.iter().filter(|one| one["in"] == "path").count());
                assert_eq!(in_path, parameters, "{name} does not describe its path");
            }
        }
    }

    fn collect_references(value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                into.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|member| collect_references(member, into));
            }
            Value::Array(items) => items.iter().for_each(|item| collect_references(item, into)),
            _ => {}
        }
    }
}
