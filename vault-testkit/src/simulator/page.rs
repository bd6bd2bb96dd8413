//! The pages that a person sees: plain HTML, no script, nothing loaded from elsewhere.

use std::fmt::Write as _;

use super::authorize::Ticket;
use super::world::World;

const STYLE: &str = include_str!("page.css");

pub(super) fn consent(world: &World, id: &str, ticket: &Ticket, suggested: &str) -> String {
    let name = escape(&world.name);
    let body = format!(
        "<p class=brand><span class=mark></span>{name}</p>\
         <h1>Allow <b>{app}</b> to use your account?</h1>\
         <form method=post action=/authorize>\
         <input type=hidden name=\"ticket\" value=\"{id}\">\
         <fieldset><legend>Choose an account</legend>{accounts}</fieldset>\
         <p class=lead>{app} will be able to:</p><ul>{scopes}</ul>\
         <div class=actions>\
         <button name=decision value=deny>Deny</button>\
         <button class=primary name=decision value=allow>Allow</button></div></form>\
         <p class=fine>This is a simulated provider. No real account is involved.</p>",
        app = escape(&ticket.client),
        accounts = accounts(world, suggested),
        scopes = wishes(&ticket.scopes),
    );
    frame(&format!("Sign in – {name}"), &body)
}

pub(super) fn refusal(why: &str) -> String {
    frame(
        "Request refused",
        &format!(
            "<h1>This request cannot be served</h1><p>{}</p><p class=fine>Go back to the app that sent you here.</p>",
            escape(why)
        ),
    )
}

fn accounts(world: &World, suggested: &str) -> String {
    let mut out = String::new();
    for account in &world.accounts {
        let checked = if account.id == suggested { " checked" } else { "" };
        let initial: String = account.name.chars().take(1).collect();
        let _ = write!(
            out,
            "<label><input type=radio name=account value=\"{id}\"{checked}>\
             <span class=avatar aria-hidden=true>{initial}</span>\
             <span><b>{name}</b><br><small>{email}</small></span></label>",
            id = escape(&account.id),
            initial = escape(&initial),
            name = escape(&account.name),
            email = escape(&account.email),
        );
    }
    out
}

fn wishes(scopes: &[String]) -> String {
    let mut out = String::new();
    for scope in scopes {
        let wish = match scope.as_str() {
            "calendar.read" => "See the events in your calendar",
            "calendar.write" => "Add and change events in your calendar",
            "email" => "See your email address",
            "offline_access" => "Keep this access while you are away",
            "openid" => "Know who you are",
            "profile" => "See your name",
            other => other,
        };
        let _ = write!(out, "<li>{}</li>", escape(wish));
    }
    if out.is_empty() {
        out.push_str("<li>Know that you have an account here</li>");
    }
    out
}

fn frame(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>"
    )
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
