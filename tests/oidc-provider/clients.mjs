// The registered clients. All are "native": RFC 8252 lets a loopback redirect URI carry any port, so that
// a test can listen on a free one. The path is compared exactly.
const redirect_uris = ['127.0.0.1', 'localhost', '[::1]']
  .flatMap((host) => [`http://${host}/callback`, `http://${host}/connect/callback`]);

/** A client's metadata; `over` replaces parts of it. */
export const client = (client_id, client_secret, over = {}) => ({
  client_id,
  client_secret,
  application_type: 'native',
  redirect_uris,
  response_types: ['code'],
  grant_types: ['authorization_code', 'refresh_token'],
  token_endpoint_auth_method: 'client_secret_basic',
  ...over,
});

export default [
  client('basic', 'basic-secret'),
  client('post', 'post-secret', { token_endpoint_auth_method: 'client_secret_post' }),
  client('public', undefined, { token_endpoint_auth_method: 'none' }),
  // RFC 6749 2.3.1: id and secret are form-urlencoded before they go into the Basic header.
  client('odd:id/ +&%', 'odd:secret/ +&%=?~'),
  client('norotate', 'norotate-secret', { test_rotate: 'off' }),
  client('norefresh', 'norefresh-secret', { grant_types: ['authorization_code'] }),
  client('short', 'short-secret', { test_access_ttl: 2 }),
];
