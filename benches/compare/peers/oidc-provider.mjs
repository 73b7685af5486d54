// A token exchange as one writes it with oidc-provider and jose: RS256 in, ES256 out, everything in memory.
//
//   ISSUER=http://127.0.0.1:9100 node oidc-provider.mjs 9202

import { createRemoteJWKSet, exportJWK, generateKeyPair, jwtVerify } from 'jose';
import { Provider, errors } from 'oidc-provider';

const { ISSUER } = process.env;
const port = Number(process.argv[2]);
const AUDIENCE = 'https://sts.example.com';
const LIFETIME = 900;
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const TRUSTED = {
  repository_owner_id: '65123456',
  repository_id: '74123456',
  environment: 'production',
  ref: 'refs/heads/main',
};

const own = async (algorithm, kid) => {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg: algorithm, use: 'sig', kid };
};

const resource = {
  scope: 'publish read',
  audience: AUDIENCE,
  accessTokenTTL: LIFETIME,
  accessTokenFormat: 'jwt',
  jwt: { sign: { alg: 'ES256' } },
};

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'ci',
    token_endpoint_auth_method: 'none',
    grant_types: [TOKEN_EXCHANGE],
    redirect_uris: [],
    response_types: [],
  }],
  jwks: { keys: [await own('ES256', 'own'), await own('RS256', 'unused')] },
  ttl: { ClientCredentials: LIFETIME },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => AUDIENCE,
      getResourceServerInfo: () => resource,
    },
  },
});

const keys = createRemoteJWKSet(new URL(`${ISSUER}/.well-known/jwks`));
const spent = new Set();

const exchange = async (ctx) => {
  const { subject_token: token, audience } = ctx.oidc.params;
  const { payload: claims } = await jwtVerify(token, keys, {
    issuer: ISSUER,
    audience: AUDIENCE,
    algorithms: ['RS256'],
  }).catch((fault) => { throw new errors.InvalidGrant(fault.message); });
  const trusted = Object.entries(TRUSTED).every(([name, value]) => claims[name] === value);
  if (!trusted || audience !== 'acme/widgets') throw new errors.InvalidGrant('not trusted');
  if (spent.has(claims.jti)) throw new errors.InvalidGrant('spent');
  spent.add(claims.jti);

  const { ClientCredentials, ResourceServer } = ctx.oidc.provider;
  const issued = new ClientCredentials({ client: ctx.oidc.client, scope: 'publish read' });
  issued.resourceServer = new ResourceServer(AUDIENCE, resource);
  issued.extra = { ref: claims.ref, sha: claims.sha };
  ctx.body = {
    access_token: await issued.save(),
    issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    token_type: issued.tokenType,
    expires_in: issued.expiration,
    scope: issued.scope,
  };
};

const parameters = ['subject_token', 'subject_token_type', 'audience', 'scope'];
provider.registerGrantType(TOKEN_EXCHANGE, exchange, parameters);
provider.on('server_error', (_, fault) => console.error(fault));
provider.listen(port, '127.0.0.1', () => console.log('ready'));
