-- Keys of programs that call the server. Of the secret only its SHA-256 is kept: it is 256 random
-- bits, so nobody can try them all, and a slow hash would only slow every request down.
create table api_keys (
    id text not null primary key,
    -- Unique for ever, because it stands in created_by.
    name text not null unique,
    secret_hash blob not null,
    -- Separated by blanks.
    rights text not null,
    created_at integer not null,
    expires_at integer,
    revoked_at integer,
    last_used_at integer
) strict, without rowid;
