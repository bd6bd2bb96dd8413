//! The quickstart as its users meet it: a program that is started, and a web app that is visited.

mod browser;
mod program;
mod script;
mod stores;
mod web;
