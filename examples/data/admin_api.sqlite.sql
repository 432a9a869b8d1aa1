-- An existing admin system's identity tables and its first rows, for SQLite: `admin_api.sql` without what only PostgreSQL has.
-- Shape and rows are those of the public soybean-admin-nestjs project (MIT licence): note the enum type, the ids that are
-- no ULIDs, the unique indexes, TIMESTAMP(3) without a time zone, `-1` as the creator, and bcrypt password hashes.
create table sys_user (
    id           text not null primary key,
    username     text not null,
    password     text not null,
    domain       text not null,
    built_in     integer not null default 0,
    avatar       text,
    email        text,
    phone_number text,
    nick_name    text not null,
    status       text not null check (status in ('ENABLED', 'DISABLED', 'BANNED')),
    created_at   text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    created_by   text not null,
    updated_at   text,
    updated_by   text
);
create unique index sys_user_username_key on sys_user (username);
create unique index sys_user_email_key on sys_user (email);
create unique index sys_user_phone_number_key on sys_user (phone_number);

create table sys_role (
    id          text not null primary key,
    code        text not null,
    name        text not null,
    description text,
    pid         text not null default '0',
    status      text not null check (status in ('ENABLED', 'DISABLED', 'BANNED')),
    created_at  text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now')),
    created_by  text not null,
    updated_at  text,
    updated_by  text
);
create unique index sys_role_code_key on sys_role (code);

create table sys_user_role (
    user_id text not null,
    role_id text not null,
    primary key (user_id, role_id)
);

insert into sys_user (id, username, password, domain, built_in, avatar, email, phone_number, nick_name, status, created_at, created_by) values
('1', 'Soybean',       '$2a$10$BrNwelZswsGy9FGCTARd5efBtM0Ra4Xz8e8DoT86EOju9Ii0jpBg6', 'built-in', 1, 'https://minio.bytebytebrew.com/default/Ugly%20Avatar%20Face.png', '111@gmail.com', '18511111111', 'Soybean', 'ENABLED', '2024-05-15 00:00:00.000', '-1'),
('2', 'Administrator', '$2a$10$BrNwelZswsGy9FGCTARd5efBtM0Ra4Xz8e8DoT86EOju9Ii0jpBg6', 'built-in', 1, 'https://minio.bytebytebrew.com/default/Ugly%20Avatar%20Face.png', '222@gmail.com', '18522222222', 'Admin',   'ENABLED', '2024-05-15 00:00:00.000', '-1'),
('3', 'GeneralUser',   '$2a$10$BrNwelZswsGy9FGCTARd5efBtM0Ra4Xz8e8DoT86EOju9Ii0jpBg6', 'built-in', 1, 'https://minio.bytebytebrew.com/default/Ugly%20Avatar%20Face.png', '333@gmail.com', '18533333333', 'User',    'ENABLED', '2024-05-15 00:00:00.000', '-1');

insert into sys_role (id, code, name, description, pid, status, created_at, created_by) values
('1', 'ROLE_SUPER', '超级管理员', '超级管理员', '0', 'ENABLED', '2024-05-15 00:00:00.000', '-1'),
('2', 'ROLE_ADMIN', '管理员',     '管理员',     '1', 'ENABLED', '2024-05-15 00:00:00.000', '-1'),
('3', 'ROLE_USER',  '用户',       '用户',       '1', 'ENABLED', '2024-05-15 00:00:00.000', '-1');

insert into sys_user_role (user_id, role_id) values ('1', '1'), ('2', '2'), ('3', '3');
