//! The metadata of the provider (RFC 8414, `OpenID` Connect Discovery).

use http::StatusCode;
use serde_json::{Value, json};

use super::reply::Reply;
use super::switches::Revocation;
use super::world::World;

impl World {
    pub(super) fn discovery(&self) -> Reply {
        let at = |path: &str| format!("{}{path}", self.issuer);
        let auth_methods = ["client_secret_basic", "client_secret_post", "none"];
        let mut document = json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("/authorize"),
            "token_endpoint": at("/token"),
            "introspection_endpoint": at("/introspect"),
            "userinfo_endpoint": at("/userinfo"),
            "jwks_uri": at("/jwks"),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "scopes_supported": ["openid", "email", "profile", "offline_access", "calendar.read", "calendar.write"],
            "token_endpoint_auth_methods_supported": auth_methods,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        });
        if self.switches.revocation != Revocation::Absent {
            document["revocation_endpoint"] = json!(at("/revoke"));
        }
        if let Value::Object(fields) = &mut document {
            for (name, value) in &self.switches.discovery {
                match value {
                    Value::Null => fields.remove(name),
                    value => fields.insert(name.clone(), value.clone()),
                };
            }
        }
        Reply::new(StatusCode::OK, "application/json", document.to_string())
    }
}
