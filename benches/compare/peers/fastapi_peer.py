"""A token exchange as one writes it with FastAPI and PyJWT: RS256 in, ES256 out, spent tokens in memory.

ISSUER=http://127.0.0.1:9100 uvicorn fastapi_peer:app --port 9203 --no-access-log
"""

import os
import time
import uuid

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI, Form
from fastapi.responses import JSONResponse

ISSUER = os.environ["ISSUER"]
AUDIENCE = "https://sts.example.com"
LIFETIME = 900
TRUSTED = {
    "repository_owner_id": "65123456",
    "repository_id": "74123456",
    "environment": "production",
    "ref": "refs/heads/main",
}

app = FastAPI()
keys = jwt.PyJWKClient(f"{ISSUER}/.well-known/jwks", cache_keys=True, lifespan=3600)
own = ec.generate_private_key(ec.SECP256R1())
# Grows without end, and is gone with the process: the least that can be called a check for spent tokens.
spent: set[str] = set()


def refused(error, why):
    return JSONResponse({"error": error, "error_description": why}, status_code=400)


@app.post("/oauth/token")
async def token(
    grant_type: str = Form(),
    subject_token: str = Form(),
    subject_token_type: str = Form(),
    audience: str = Form(),
):
    try:
        key = keys.get_signing_key_from_jwt(subject_token)
        claims = jwt.decode(subject_token, key, algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER)
    except jwt.PyJWTError as fault:
        return refused("invalid_request", str(fault))
    if audience != "acme/widgets" or any(claims.get(name) != value for name, value in TRUSTED.items()):
        return refused("invalid_target", "not trusted")
    if claims["jti"] in spent:
        return refused("invalid_request", "spent")
    spent.add(claims["jti"])
    now = int(time.time())
    issued = {
        "iss": AUDIENCE,
        "sub": "project:acme/widgets",
        "aud": AUDIENCE,
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME,
        "jti": str(uuid.uuid4()),
        "scope": "publish read",
        "client_id": claims["sub"],
        "ref": claims["ref"],
        "sha": claims["sha"],
    }
    return {
        "access_token": jwt.encode(issued, own, algorithm="ES256", headers={"typ": "at+jwt", "kid": "own"}),
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
        "expires_in": LIFETIME,
        "scope": "publish read",
    }
