-- Keys of programs that call the server. Of the secret only its SHA-256 is kept: it is 256 random
-- bits, so nobody can try them all, and a slow hash would only slow every request down.
create table api_keys (
    id varchar(26) collate "C" not null,
    -- Unique for ever, because it stands in created_by.
    name varchar(22) collate "C" not null,
    secret_hash bytea not null,
    -- Separated by blanks.
    rights text collate "C" not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    constraint api_keys_pkey primary key (id),
    constraint api_keys_name_key unique (name)
);
