mod authorize;
mod identity;
mod refusals;
mod replies;
mod requests;
mod revocation;
