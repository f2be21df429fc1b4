CREATE TABLE IF NOT EXISTS `sms_batches` (`batch_id` VARCHAR(64) NOT NULL, `key_digest` VARCHAR(64) NOT NULL, `batch_key` LONGTEXT NOT NULL, `generation` INTEGER NOT NULL, `dag_id` VARCHAR(250) NOT NULL, `run_id` VARCHAR(250) NOT NULL, `task_id` VARCHAR(250) NOT NULL, `map_index` INTEGER NOT NULL, `owner` LONGTEXT NOT NULL, `sms_conn_id` VARCHAR(250) NOT NULL, `guarantee` VARCHAR(64) NOT NULL, `texts_digest` LONGTEXT NOT NULL, `numbers_digest` LONGTEXT NOT NULL, `key_id` VARCHAR(64) NOT NULL, `recipients` INTEGER NOT NULL, `requests` INTEGER NOT NULL, `duplicates` INTEGER NOT NULL, `max_tries` INTEGER NOT NULL, `revision` INTEGER NOT NULL, `accepted` INTEGER NOT NULL, `declined` INTEGER NOT NULL, `unknown` INTEGER NOT NULL, `cancelled` INTEGER NOT NULL, `cost` NUMERIC(14, 4) NOT NULL, `refunded` NUMERIC(14, 4) NOT NULL, `currency` VARCHAR(64) NOT NULL, `opened_at` DATETIME(6) NOT NULL, `updated_at` DATETIME(6) NOT NULL, `superseded_at` DATETIME(6) NULL, PRIMARY KEY (`batch_id`), UNIQUE (`key_digest`, `generation`)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS `sms_requests` (`batch_id` VARCHAR(64) NOT NULL, `round` INTEGER NOT NULL, `request` INTEGER NOT NULL, `recipients` INTEGER NOT NULL, `process` VARCHAR(250) NOT NULL, `claimed_at` DATETIME(6) NOT NULL, `send_at` DATETIME(6) NULL, `answered_at` DATETIME(6) NULL, `cancelling_at` DATETIME(6) NULL, PRIMARY KEY (`batch_id`, `round`, `request`)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS `sms_messages` (`batch_id` VARCHAR(64) NOT NULL, `round` INTEGER NOT NULL, `request` INTEGER NOT NULL, `position` INTEGER NOT NULL, `number` VARCHAR(100) NOT NULL, `address_kind` VARCHAR(64) NOT NULL, `text` LONGTEXT NOT NULL, `state` VARCHAR(64) NOT NULL, `reason` VARCHAR(64) NULL, `message_id` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL, `cost` NUMERIC(14, 4) NOT NULL, `refund` NUMERIC(14, 4) NOT NULL, `currency` VARCHAR(64) NOT NULL, `submitted_at` DATETIME(6) NOT NULL, `send_at` DATETIME(6) NULL, `state_at` DATETIME(6) NOT NULL, `reference` VARCHAR(250) NULL, PRIMARY KEY (`batch_id`, `round`, `request`, `position`), INDEX `sms_messages_message_id` (`message_id`), INDEX `sms_messages_number` (`number`), INDEX `sms_messages_reference` (`reference`)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS `sms_rounds` (`batch_id` VARCHAR(64) NOT NULL, `round` INTEGER NOT NULL, `of_round` INTEGER NOT NULL, `of_request` INTEGER NOT NULL, `positions` LONGTEXT NOT NULL, PRIMARY KEY (`batch_id`, `round`, `of_round`, `of_request`)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS `incoming` (`message_id` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, `number` VARCHAR(100) NOT NULL, `number_key_id` VARCHAR(64), `address_kind` VARCHAR(64), `received_at` DATETIME(6), `received_at_wire` VARCHAR(64), `text` LONGTEXT, `in_reply_to` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin, `loaded_at` DATETIME(6) NOT NULL, `load_run_id` VARCHAR(250), PRIMARY KEY (`message_id`)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS `incoming_hashed` (`message_id` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, `number` VARCHAR(100) NOT NULL, `number_key_id` VARCHAR(64), `address_kind` VARCHAR(64), `received_at` DATETIME(6), `received_at_wire` VARCHAR(64), `text` LONGTEXT, `in_reply_to` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin, `loaded_at` DATETIME(6) NOT NULL, `load_run_id` VARCHAR(250), PRIMARY KEY (`message_id`)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS `incoming_raw` (`message_id` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, `number` VARCHAR(100) NOT NULL, `number_key_id` VARCHAR(64), `address_kind` VARCHAR(64), `received_at` DATETIME(6), `received_at_wire` VARCHAR(64), `text` LONGTEXT, `in_reply_to` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin, `loaded_at` DATETIME(6) NOT NULL, `load_run_id` VARCHAR(250), `raw` LONGTEXT, PRIMARY KEY (`message_id`)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS `short_codes` (`message_id` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, `number` VARCHAR(100) NOT NULL, `number_key_id` VARCHAR(64), `address_kind` VARCHAR(64), `received_at` DATETIME(6), `received_at_wire` VARCHAR(64), `text` LONGTEXT, `loaded_at` DATETIME(6) NOT NULL, `load_run_id` VARCHAR(250), PRIMARY KEY (`message_id`)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS `opt_outs` (`number` VARCHAR(100) NOT NULL, `number_key_id` VARCHAR(64), `address_kind` VARCHAR(64), `opted_out_at` DATETIME(6), `opted_out_at_wire` VARCHAR(64), `text` LONGTEXT, `message_id` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin, `first_seen_at` DATETIME(6) NOT NULL, `last_seen_at` DATETIME(6) NOT NULL, `removed_at` DATETIME(6), `loaded_at` DATETIME(6) NOT NULL, `load_run_id` VARCHAR(250), PRIMARY KEY (`number`)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS `opt_outs_history` (`number` VARCHAR(100) NOT NULL, `number_key_id` VARCHAR(64), `address_kind` VARCHAR(64), `opted_out_at` DATETIME(6), `opted_out_at_wire` VARCHAR(64), `text` LONGTEXT, `message_id` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin, `first_seen_at` DATETIME(6) NOT NULL, `last_seen_at` DATETIME(6) NOT NULL, `removed_at` DATETIME(6), `loaded_at` DATETIME(6) NOT NULL, `load_run_id` VARCHAR(250), PRIMARY KEY (`number`, `first_seen_at`)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS `scheduled` (`message_id` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, `number` VARCHAR(100) NOT NULL, `number_key_id` VARCHAR(64), `address_kind` VARCHAR(64), `submitted_at` DATETIME(6), `submitted_at_wire` VARCHAR(64), `send_at` DATETIME(6), `send_at_wire` VARCHAR(64), `refund` NUMERIC(14, 4), `currency` VARCHAR(64), `first_seen_at` DATETIME(6) NOT NULL, `last_seen_at` DATETIME(6) NOT NULL, `removed_at` DATETIME(6), `loaded_at` DATETIME(6) NOT NULL, `load_run_id` VARCHAR(250), PRIMARY KEY (`message_id`)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS `deliveries` (`batch_id` VARCHAR(64) NOT NULL, `round` INTEGER NOT NULL, `request` INTEGER NOT NULL, `position` INTEGER NOT NULL, `message_id` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin, `dag_id` VARCHAR(250), `run_id` VARCHAR(250), `task_id` VARCHAR(250), `map_index` INTEGER, `sms_conn_id` VARCHAR(250), `number` VARCHAR(100) NOT NULL, `number_key_id` VARCHAR(64), `address_kind` VARCHAR(64), `state` VARCHAR(64), `reason` VARCHAR(64), `cost` NUMERIC(14, 4), `refund` NUMERIC(14, 4), `currency` VARCHAR(64), `submitted_at` DATETIME(6), `send_at` DATETIME(6), `state_at` DATETIME(6), `reference` VARCHAR(250), `loaded_at` DATETIME(6) NOT NULL, `load_run_id` VARCHAR(250), PRIMARY KEY (`batch_id`, `round`, `request`, `position`), INDEX `deliveries_reference` (`reference`)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT INTO `sms_batches` (`batch_id`, `key_digest`, `batch_key`, `generation`, `dag_id`, `run_id`, `task_id`, `map_index`, `owner`, `sms_conn_id`, `guarantee`, `texts_digest`, `numbers_digest`, `key_id`, `recipients`, `requests`, `duplicates`, `max_tries`, `revision`, `accepted`, `declined`, `unknown`, `cancelled`, `cost`, `refunded`, `currency`, `opened_at`, `updated_at`, `superseded_at`) VALUES
('04d5255fc3fd41adf97e10e6100a0428', 'b8286e87f8924bbcf4a77881b2a25ea24be9dc4781235ab79c1749b06b26a4fc', 'dag/run/scheduled/-1', 1, 'dag', 'run', 'scheduled', -1, 'airflow', 'winsms_default', 'at_most_once', 'ffa5344967ad561a9fbbda9b1f22caddf271a7a3d1a28ba87de7f028aa8308dc', 'a58f0e0d9f7b3bc5c5207dc20f67f86e167dc3c145c92b5661cef0ae6966ad14', 'f1fc1cb0', 3, 1, 0, 9, 0, 3, 0, 0, 0, 3.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 06:00:07.311311', NULL),
('19703dd7815a581d4feab6ac7f43a95b', '3187fe1d94e7e9ef2b601fefc8db0efa9bfd81d8030e331fbefeeaed1830b6eb', 'dag/run/two_rounds/-1', 1, 'dag', 'run', 'two_rounds', -1, 'airflow', 'winsms_default', 'at_most_once', 'c1e54853110882ca6ba510c51b1a919552cc3e29c9a0cfdf04bb5c06ee8bef97', '5d8bcabd5c4645c15b8f9b174b417d4750a63c082fd8ecdbba8373926a03ced9', 'f1fc1cb0', 4, 1, 0, 9, 0, 4, 2, 0, 0, 4.0000, 0.0000, 'credits', '2026-10-05 06:00:00', '2026-10-06 06:00:05.298328', NULL),
('290ec7e9cbabec6941109014c52a7973', '4bf107ba5690bcfd335b88b4e48511cfba8050596f847b98b300db0920b6601b', 'dag/run/at_most_once/-1', 1, 'dag', 'run', 'at_most_once', -1, 'airflow', 'winsms_default', 'at_most_once', 'ce81940b546e92698e6b86b8adc531e30d774383a523bf2b8f28cdd02a78ced1', '7e7130928421c934ca789256f2f907a62df097f8a77138813448ac12c5e146ff', 'f1fc1cb0', 2, 1, 0, 9, 0, 0, 0, 2, 0, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 06:00:08.142252', NULL),
('48f9af774e8f9a53b32d1c534aed61d2', '0272a45f555b4e646d1c244981871e45185dd4ff75ff8f69f41f6f239babd1ce', 'dag/run/cancelled/-1', 1, 'dag', 'run', 'cancelled', -1, 'airflow', 'winsms_default', 'at_most_once', 'ffa5344967ad561a9fbbda9b1f22caddf271a7a3d1a28ba87de7f028aa8308dc', '4a9782b376fae8c01d9c621240b31cc1042c816231323a62045e406589bcb832', 'f1fc1cb0', 3, 1, 0, 9, 0, 0, 0, 0, 3, 3.0000, 3.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 06:00:07.673015', NULL),
('54c2c3560ff0ed1668164e688eb589c9', '8517c7cf3f1c7217128f4517c83505002318bb10941f00e2e4b7619966142b31', 'dag/run/found/-1', 1, 'dag', 'run', 'found', -1, 'airflow', 'winsms_default', 'exactly_once', 'df77c1add860f62d8d98cfdfaeb992035259d47d04214d0aa552c5bb0165c93d', '419f3667b83d22444d20f61f4f40a37cdcbb18f1f51649d8c277c8b82d56a581', 'f1fc1cb0', 2, 1, 0, 9, 0, 0, 0, 2, 0, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 06:00:08.823316', NULL),
('5716d51c797e09e8a9b1e0d045cade5c', 'fd6568f091670cdd1b7087c4d594d60972ee149a9cfce97d528d648470894876', 'dag/run/not_found/-1', 1, 'dag', 'run', 'not_found', -1, 'airflow', 'winsms_default', 'exactly_once', 'df77c1add860f62d8d98cfdfaeb992035259d47d04214d0aa552c5bb0165c93d', '4f3a0a952eb4782f3c0d31cda921e30a07d56e852c7faf95bbb48523a67d4a39', 'f1fc1cb0', 2, 1, 0, 9, 0, 0, 0, 2, 0, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 06:00:08.527634', NULL),
('57ffa5e6a60ccf40dc2a064fb018e8e3', 'fa8abe0ea460fb24e8f3beb7a80d914612e63f9ef54d7fbb4759088c7aedbc19', 'dag/run/unpaid/-1', 1, 'dag', 'run', 'unpaid', -1, 'airflow', 'winsms_default', 'at_most_once', 'c1e54853110882ca6ba510c51b1a919552cc3e29c9a0cfdf04bb5c06ee8bef97', '4e3f2c194c2d506162b3ceb47ae46c8c7105cad317e844f628038e7b01dfee42', 'f1fc1cb0', 4, 1, 0, 9, 0, 1, 3, 0, 0, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 06:00:07.926847', NULL),
('64d97f05b0dbc102ca62713878f27b51', '32ce22c0ce524270087013ea3a1cf32d6f22071f5505db8a3623ac7ad2efca18', 'dag/run/by_pigeon/-1', 1, 'dag', 'run', 'by_pigeon', -1, 'airflow', 'pigeon', 'at_most_once', 'ce81940b546e92698e6b86b8adc531e30d774383a523bf2b8f28cdd02a78ced1', '909d5101dfb81670fee5a1eaec556070d524b791811c740f3daad7d66f8b858c', 'f1fc1cb0', 2, 1, 0, 9, 0, 2, 0, 0, 0, 0.1650, 0.0000, 'PLN', '2026-03-02 10:00:00', '2026-10-06 06:00:04.700409', NULL),
('97cdaa01dbd14650617cd61ec38adcfe', '326a1387057d20b950d2708117ef13b550d84f281337acee37a517e34fdc4989', 'dag/run/resolved/-1', 1, 'dag', 'run', 'resolved', -1, 'airflow', 'winsms_default', 'at_most_once', 'ce81940b546e92698e6b86b8adc531e30d774383a523bf2b8f28cdd02a78ced1', '77792bc0e0803a20d3b589de8181a54f4077dd5f92f74c4230b2cb67956fd2dc', 'f1fc1cb0', 2, 1, 0, 9, 0, 0, 0, 2, 0, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 06:00:08.667048', NULL),
('9c58e3db64edf2c676b964dcb425c46b', '36454a4e1d5ae4510d61a8b46efb0d35e7e4e3d2e5d521de40482a11fa19360f', 'dag/run/resent/-1', 1, 'dag', 'run', 'resent', -1, 'airflow', 'winsms_default', 'at_most_once', 'ce81940b546e92698e6b86b8adc531e30d774383a523bf2b8f28cdd02a78ced1', '75a2932b634ec535349fe1e1de535f764de39af4c20eb4bcdbe359cf53e161a9', 'f1fc1cb0', 2, 1, 0, 9, 0, 2, 0, 0, 0, 2.0000, 0.0000, 'credits', '2026-10-05 06:00:00', '2026-10-06 06:00:04.819351', '2026-10-06 06:00:04.940432'),
('b0ffc96134665ad0cf476b47dd88e4a2', '04cd19713bd1745a2ccf2f09dac534999032a5c3021fd499096ae18e23739c49', 'dag/run/declined/-1', 1, 'dag', 'run', 'declined', -1, 'airflow', 'winsms_default', 'at_most_once', 'ce81940b546e92698e6b86b8adc531e30d774383a523bf2b8f28cdd02a78ced1', '798280114f5795a1d149c0dd39e76c64e0bcec22f57bb58ab8a8b1f24908a47c', 'f1fc1cb0', 2, 1, 0, 9, 0, 1, 1, 0, 0, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', '2026-10-06 06:00:04.146606', NULL),
('b9924969f94fd7d9a199a7f43f22262c', '36454a4e1d5ae4510d61a8b46efb0d35e7e4e3d2e5d521de40482a11fa19360f', 'dag/run/resent/-1', 2, 'dag', 'run', 'resent', -1, 'airflow', 'winsms_default', 'at_most_once', 'ce81940b546e92698e6b86b8adc531e30d774383a523bf2b8f28cdd02a78ced1', '75a2932b634ec535349fe1e1de535f764de39af4c20eb4bcdbe359cf53e161a9', 'f1fc1cb0', 2, 1, 0, 10, 0, 2, 0, 0, 0, 2.0000, 0.0000, 'credits', '2026-10-05 06:00:00', '2026-10-06 06:00:04.971391', NULL),
('db8b6d80c048793d1cc1785a5d8dedaf', '1aeaa518479bdc73278030659a407624fdbd22bf4a88757c872bf98ff9a95a4c', 'dag/run/kept/-1', 1, 'dag', 'run', 'kept', -1, 'airflow', 'winsms_default', 'at_most_once', 'bf524c8891c02ac34b72233e2a476858b0d8f719ded85d41a80b5e7480784f30', 'ec277c72ec4c4a26590768b9d2da6dad3dea2347f7c865e8a69c529d004cce43', 'f1fc1cb0', 2, 1, 0, 9, 0, 2, 0, 0, 0, 2.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 06:00:07.086553', NULL),
('dc4a3e398239622ca307b390cef34bcc', '84dc7bdf3f58e120f6f6efc9f8bde1e6a13ee86bda2059802fc071403579accd', 'dag/run/at_least_once/-1', 1, 'dag', 'run', 'at_least_once', -1, 'airflow', 'winsms_default', 'at_least_once', 'ce81940b546e92698e6b86b8adc531e30d774383a523bf2b8f28cdd02a78ced1', '258a23819c403a9bb0f7b9d65f2c70663dc95ffd73bc2928a64c81fb8eaa45b5', 'f1fc1cb0', 2, 1, 0, 9, 0, 0, 0, 2, 0, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 06:00:08.333611', NULL),
('de7d65692e35c76e0d1bba7e71e4f48e', 'dfda6fe0491b19d7c85cb68765d3213509ff8e6babce26556395162d6be4b5f4', 'dag/run/accepted/-1', 1, 'dag', 'run', 'accepted', -1, 'airflow', 'winsms_default', 'at_most_once', '02d1b2ba4b56827f1b6b715eb058573fa9c9895320b7c7d576245c2023cd1d92', 'e9f8d82130561e64d8546c92c6cdc28635ffae2ee41925685c71678b9789948a', 'f1fc1cb0', 3, 1, 0, 9, 0, 3, 0, 0, 0, 3.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 06:00:06.727934', NULL),
('f23f0a39551f1562622957f4adc3e6a6', 'd91a3c739271a012d532bf8374082c3dedd3702bbbfff173cb6167ed896b347d', 'dag/run/hashed/-1', 1, 'dag', 'run', 'hashed', -1, 'airflow', 'winsms_default', 'at_most_once', 'ce81940b546e92698e6b86b8adc531e30d774383a523bf2b8f28cdd02a78ced1', '8d9975e65f2f46ba8f2561107e2a3836b622d6a945b1869d38c1ec3312c6068a', 'f1fc1cb0', 2, 1, 0, 9, 0, 2, 0, 0, 0, 2.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 06:00:06.899895', NULL),
('f6bea3fdd2363b1559ea3f1331857535', '5e4d69181f2c49b5ec57765fa98ca727542965e4f56d1545c7053fb6de589036', 'dag/run/delivered/-1', 1, 'dag', 'run', 'delivered', -1, 'airflow', 'winsms_default', 'at_most_once', '1d76e96c0fea809fddee6434860a1da1c22d19af12f19d5da94a0414805332d0', '3dc0ac27b38c2ccf1e1ed30c351451207489ffa0aa79d76cb561f9fac6c44f56', 'f1fc1cb0', 5, 1, 0, 9, 0, 5, 0, 0, 0, 5.0000, 0.0000, 'credits', '2026-10-05 06:00:00', '2026-10-06 06:00:03.931215', NULL),
('fc54e887a8c30ced3f14053afd8cf7b6', '81b2df59c2897a8732d1a7ea447cad95dcfe13f03931d4ed5c89bb52b29e7e2b', 'dag/run/send/-1', 1, 'dag', 'run', 'send', -1, 'airflow', 'winsms_default', 'at_most_once', '603678489dfe3128efaf0aa899c765345b417c097c7e5e170a64ccee5641a2c4', '914ed7f61ad8a437f1124b16a00fcc506c7f8c48fbaf02de9342a7f03a8678f7', 'f1fc1cb0', 2, 1, 0, 9, 0, 2, 1, 0, 0, 2.0000, 0.0000, 'credits', '2026-10-05 06:00:00', '2026-10-06 06:00:04.427827', NULL);

INSERT INTO `sms_requests` (`batch_id`, `round`, `request`, `recipients`, `process`, `claimed_at`, `send_at`, `answered_at`, `cancelling_at`) VALUES
('04d5255fc3fd41adf97e10e6100a0428', 1, 1, 3, 'worker:17326:e5418a09', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:07.312286', NULL),
('19703dd7815a581d4feab6ac7f43a95b', 1, 1, 4, 'worker:17326:8dd3bb5c', '2026-10-05 06:00:00', NULL, '2026-10-06 06:00:05.147936', NULL),
('19703dd7815a581d4feab6ac7f43a95b', 2, 1, 2, 'worker:17326:a021897b', '2026-10-05 06:00:00', NULL, '2026-10-06 06:00:05.298885', NULL),
('290ec7e9cbabec6941109014c52a7973', 1, 1, 2, 'worker:17326:c8d81184', '2026-10-06 06:00:00', NULL, NULL, NULL),
('48f9af774e8f9a53b32d1c534aed61d2', 1, 1, 3, 'worker:17326:4b84a6e0', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:07.481744', NULL),
('54c2c3560ff0ed1668164e688eb589c9', 1, 1, 2, 'worker:17326:5ed3ff04', '2026-10-06 06:00:00', '2026-10-06 06:05:00', NULL, NULL),
('5716d51c797e09e8a9b1e0d045cade5c', 1, 1, 2, 'worker:17326:258efaef', '2026-10-06 06:00:00', '2026-10-06 06:05:00', NULL, NULL),
('57ffa5e6a60ccf40dc2a064fb018e8e3', 1, 1, 4, 'worker:17326:ab6d790e', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:07.939256', NULL),
('64d97f05b0dbc102ca62713878f27b51', 1, 1, 2, 'worker:17326:419e5c24', '2026-03-02 10:00:00', NULL, '2026-10-06 06:00:04.700878', NULL),
('97cdaa01dbd14650617cd61ec38adcfe', 1, 1, 2, 'worker:17326:229d0a86', '2026-10-06 06:00:00', NULL, NULL, NULL),
('9c58e3db64edf2c676b964dcb425c46b', 1, 1, 2, 'worker:17326:29af93cc', '2026-10-05 06:00:00', NULL, '2026-10-06 06:00:04.823127', NULL),
('b0ffc96134665ad0cf476b47dd88e4a2', 1, 1, 2, 'worker:17326:46b121a9', '2026-10-05 06:00:00', NULL, '2026-10-06 06:00:04.147335', NULL),
('b9924969f94fd7d9a199a7f43f22262c', 1, 1, 2, 'worker:17326:224e7a69', '2026-10-05 06:00:00', NULL, '2026-10-06 06:00:04.972189', NULL),
('db8b6d80c048793d1cc1785a5d8dedaf', 1, 1, 2, 'worker:17326:ee2e814b', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:07.087199', NULL),
('dc4a3e398239622ca307b390cef34bcc', 1, 1, 2, 'worker:17326:e916f42e', '2026-10-06 06:00:00', NULL, NULL, NULL),
('de7d65692e35c76e0d1bba7e71e4f48e', 1, 1, 3, 'worker:17326:ad5788c2', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:06.728653', NULL),
('f23f0a39551f1562622957f4adc3e6a6', 1, 1, 2, 'worker:17326:d13a3bba', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:06.909224', NULL),
('f6bea3fdd2363b1559ea3f1331857535', 1, 1, 5, 'worker:17326:80630e76', '2026-10-05 06:00:00', NULL, '2026-10-06 06:00:03.936328', NULL),
('fc54e887a8c30ced3f14053afd8cf7b6', 1, 1, 2, 'worker:17326:5d1c8e72', '2026-10-05 06:00:00', NULL, '2026-10-06 06:00:04.428333', NULL);

INSERT INTO `sms_messages` (`batch_id`, `round`, `request`, `position`, `number`, `address_kind`, `text`, `state`, `reason`, `message_id`, `cost`, `refund`, `currency`, `submitted_at`, `send_at`, `state_at`, `reference`) VALUES
('04d5255fc3fd41adf97e10e6100a0428', 1, 1, 0, '27825550040', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'scheduled', NULL, '1000027', 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:07.295191', NULL),
('04d5255fc3fd41adf97e10e6100a0428', 1, 1, 1, '27825550041', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'scheduled', NULL, '1000028', 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:07.295191', NULL),
('04d5255fc3fd41adf97e10e6100a0428', 1, 1, 2, '27825550042', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'scheduled', NULL, '1000029', 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:07.295191', NULL),
('19703dd7815a581d4feab6ac7f43a95b', 1, 1, 0, '27825550020', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'delivered', NULL, '1000014', 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL),
('19703dd7815a581d4feab6ac7f43a95b', 1, 1, 1, '27825550021', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'delivered', NULL, '1000015', 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:01:00', NULL),
('19703dd7815a581d4feab6ac7f43a95b', 1, 1, 2, '27825550022', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'declined', 'no_credits', NULL, 0.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-06 06:00:05.146925', NULL),
('19703dd7815a581d4feab6ac7f43a95b', 1, 1, 3, '27825550023', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'declined', 'no_credits', NULL, 0.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-06 06:00:05.146925', NULL),
('19703dd7815a581d4feab6ac7f43a95b', 2, 1, 0, '27825550022', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'delivered', NULL, '1000018', 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL),
('19703dd7815a581d4feab6ac7f43a95b', 2, 1, 1, '27825550023', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'delivered', NULL, '1000019', 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:01:00', NULL),
('290ec7e9cbabec6941109014c52a7973', 1, 1, 0, '27825550060', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'unknown', NULL, NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', NULL),
('290ec7e9cbabec6941109014c52a7973', 1, 1, 1, '27825550061', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'unknown', NULL, NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', NULL),
('48f9af774e8f9a53b32d1c534aed61d2', 1, 1, 0, '27825550043', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'cancelled', NULL, '1000030', 1.0000, 1.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:07.672528', NULL),
('48f9af774e8f9a53b32d1c534aed61d2', 1, 1, 1, '27825550044', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'cancelled', NULL, '1000031', 1.0000, 1.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:07.672528', NULL),
('48f9af774e8f9a53b32d1c534aed61d2', 1, 1, 2, '27825550045', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'cancelled', NULL, '1000032', 1.0000, 1.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:07.672528', NULL),
('54c2c3560ff0ed1668164e688eb589c9', 1, 1, 0, '27825550064', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'unknown', NULL, NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:00', NULL),
('54c2c3560ff0ed1668164e688eb589c9', 1, 1, 1, '27825550065', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'unknown', NULL, NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:00', NULL),
('5716d51c797e09e8a9b1e0d045cade5c', 1, 1, 0, '27825550066', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'unknown', NULL, NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:00', NULL),
('5716d51c797e09e8a9b1e0d045cade5c', 1, 1, 1, '27825550067', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'unknown', NULL, NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:00', NULL),
('57ffa5e6a60ccf40dc2a064fb018e8e3', 1, 1, 0, '27825550050', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'accepted', NULL, '1000033', 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:07.903940', NULL),
('57ffa5e6a60ccf40dc2a064fb018e8e3', 1, 1, 1, '27825550051', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'declined', 'no_credits', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:07.903940', NULL),
('57ffa5e6a60ccf40dc2a064fb018e8e3', 1, 1, 2, '27825550052', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'declined', 'no_credits', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:07.903940', NULL),
('57ffa5e6a60ccf40dc2a064fb018e8e3', 1, 1, 3, '27825550053', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'declined', 'no_credits', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:07.903940', NULL),
('64d97f05b0dbc102ca62713878f27b51', 1, 1, 0, '27825550080', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'accepted', NULL, 'd4e970f3-6f01-40b6-a268-7d0cb0b460b7', 0.0825, 0.0000, 'PLN', '2026-03-02 10:00:00', NULL, '2026-10-06 06:00:04.699998', NULL),
('64d97f05b0dbc102ca62713878f27b51', 1, 1, 1, '27825550081', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'accepted', NULL, 'f43e1178-8415-48cb-beb1-5211451632a4', 0.0825, 0.0000, 'PLN', '2026-03-02 10:00:00', NULL, '2026-10-06 06:00:04.699998', NULL),
('97cdaa01dbd14650617cd61ec38adcfe', 1, 1, 0, '27825550068', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'unknown', NULL, NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', NULL),
('97cdaa01dbd14650617cd61ec38adcfe', 1, 1, 1, '27825550069', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'unknown', NULL, NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', NULL),
('9c58e3db64edf2c676b964dcb425c46b', 1, 1, 0, '27825550024', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'delivered', NULL, '1000010', 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL),
('9c58e3db64edf2c676b964dcb425c46b', 1, 1, 1, '27825550025', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'delivered', NULL, '1000011', 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL),
('b0ffc96134665ad0cf476b47dd88e4a2', 1, 1, 0, '27825550005', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'delivered', NULL, '1000006', 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL),
('b0ffc96134665ad0cf476b47dd88e4a2', 1, 1, 1, '27000000006', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'declined', 'opted_out', NULL, 0.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-06 06:00:04.139185', NULL),
('b9924969f94fd7d9a199a7f43f22262c', 1, 1, 0, '27825550024', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'delivered', NULL, '1000012', 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:01:00', NULL),
('b9924969f94fd7d9a199a7f43f22262c', 1, 1, 1, '27825550025', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'delivered', NULL, '1000013', 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL),
('db8b6d80c048793d1cc1785a5d8dedaf', 1, 1, 0, '27825550035', 'phone', 'Kept: ''all'' of it', 'accepted', NULL, '1000025', 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:07.086090', NULL),
('db8b6d80c048793d1cc1785a5d8dedaf', 1, 1, 1, '27825550036', 'phone', 'Kept: ''all'' of it', 'accepted', NULL, '1000026', 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:07.086090', NULL),
('dc4a3e398239622ca307b390cef34bcc', 1, 1, 0, '27825550062', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'unknown', NULL, NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', NULL),
('dc4a3e398239622ca307b390cef34bcc', 1, 1, 1, '27825550063', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'unknown', NULL, NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', NULL),
('de7d65692e35c76e0d1bba7e71e4f48e', 1, 1, 0, '27825550030', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'accepted', NULL, '1000020', 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:06.723167', NULL),
('de7d65692e35c76e0d1bba7e71e4f48e', 1, 1, 1, '27825550031', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'accepted', NULL, '1000021', 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:06.723167', NULL),
('de7d65692e35c76e0d1bba7e71e4f48e', 1, 1, 2, '27825550032', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'accepted', NULL, '1000022', 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:06.723167', NULL),
('f23f0a39551f1562622957f4adc3e6a6', 1, 1, 0, '38cf83feb0d9fb46f3728ad36e0fba6ca35e9724d71499372d23105337929c69', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'accepted', NULL, '1000023', 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:06.899400', NULL),
('f23f0a39551f1562622957f4adc3e6a6', 1, 1, 1, '7f72ae392d659aed841181d8d81603fa4091e265d39f2373f16a9e9479c5a552', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'accepted', NULL, '1000024', 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:06.899400', NULL),
('f6bea3fdd2363b1559ea3f1331857535', 1, 1, 0, '27000000010', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'delivered', NULL, '1000001', 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL),
('f6bea3fdd2363b1559ea3f1331857535', 1, 1, 1, '27825550000', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'delivered', NULL, '1000002', 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL),
('f6bea3fdd2363b1559ea3f1331857535', 1, 1, 2, '27825550001', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'delivered', NULL, '1000003', 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:01:00', NULL),
('f6bea3fdd2363b1559ea3f1331857535', 1, 1, 3, '27825550002', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'delivered', NULL, '1000004', 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:01:00', NULL),
('f6bea3fdd2363b1559ea3f1331857535', 1, 1, 4, '27825550003', 'phone', '477a5600e324a5c578c9aa08e0c2c0748a212d18505a78604432944031bcc023', 'delivered', NULL, '1000005', 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL),
('fc54e887a8c30ced3f14053afd8cf7b6', 0, 1, 0, '', 'phone', '', 'declined', 'bad_number', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:04.384010', NULL, '2026-10-06 06:00:04.384010', 'customer 3'),
('fc54e887a8c30ced3f14053afd8cf7b6', 1, 1, 0, '27825550010', 'phone', 'f914f12e4d877466541afa4f59f66965580fb434cb0ca4404eb0690ee4c999dd', 'delivered', NULL, '1000008', 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', 'customer 1'),
('fc54e887a8c30ced3f14053afd8cf7b6', 1, 1, 1, '27825550011', 'phone', 'eb507fe28ae4c34d191d088928c94d1dcfdfdaf5120fbf3d8341494dc0bd80e0', 'delivered', NULL, '1000009', 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:01:00', 'customer 2');

INSERT INTO `sms_rounds` (`batch_id`, `round`, `of_round`, `of_request`, `positions`) VALUES
('19703dd7815a581d4feab6ac7f43a95b', 2, 1, 1, '2-3');

INSERT INTO `incoming` (`message_id`, `number`, `number_key_id`, `address_kind`, `received_at`, `received_at_wire`, `text`, `in_reply_to`, `loaded_at`, `load_run_id`) VALUES
('5000001', '27825550000', NULL, 'phone', '2026-10-05 06:00:00', '202610050800', 'YES; it''s me, ''Ann''', '1000002', '2026-10-05 07:00:00', 'run'),
('5000002', '27825550001', NULL, 'phone', '2026-10-05 06:00:00', '202610050800', 'STOP', '1000003', '2026-10-05 07:00:00', 'run'),
('5000004', '27825550005', NULL, 'phone', '2026-10-06 06:00:00', '202610060800', 'Ring 082 555 0123', '1000006', '2026-10-06 06:00:00', 'run');

INSERT INTO `incoming_hashed` (`message_id`, `number`, `number_key_id`, `address_kind`, `received_at`, `received_at_wire`, `text`, `in_reply_to`, `loaded_at`, `load_run_id`) VALUES
('5000001', 'cc2deb4c21274f5a6d039d6514edfedfe1bbbc000eb129ae3484f7e22d30ec36', 'f1fc1cb0', 'phone', '2026-10-05 06:00:00', '202610050800', 'YES; it''s me, ''Ann''', '1000002', '2026-10-05 07:00:00', 'run'),
('5000002', 'c995fcfea2b1f65727d7f0a4023e0c232de7750446b747a4fbf17e55b1e3b766', 'f1fc1cb0', 'phone', '2026-10-05 06:00:00', '202610050800', 'STOP', '1000003', '2026-10-05 07:00:00', 'run'),
('5000004', '1b88d5fcaeeb03d8e1403cd519a069e2f83b355739a32872665a6f5cd335f9c7', 'f1fc1cb0', 'phone', '2026-10-06 06:00:00', '202610060800', 'Ring [number]', '1000006', '2026-10-06 06:00:00', 'run');

INSERT INTO `incoming_raw` (`message_id`, `number`, `number_key_id`, `address_kind`, `received_at`, `received_at_wire`, `text`, `in_reply_to`, `loaded_at`, `load_run_id`, `raw`) VALUES
('5000001', '27825550000', NULL, 'phone', '2026-10-05 06:00:00', '202610050800', 'YES; it''s me, ''Ann''', '1000002', '2026-10-05 07:00:00', 'run', '{"incomingApiMessageId": 5000001, "mobileNumber": "27825550000", "receiveTime": "202610050800", "messageText": "YES; it''s me, ''Ann''", "outgoingApiMessageId": 1000002}'),
('5000002', '27825550001', NULL, 'phone', '2026-10-05 06:00:00', '202610050800', 'STOP', '1000003', '2026-10-05 07:00:00', 'run', '{"incomingApiMessageId": 5000002, "mobileNumber": "27825550001", "receiveTime": "202610050800", "messageText": "STOP", "outgoingApiMessageId": 1000003}'),
('5000004', '27825550005', NULL, 'phone', '2026-10-06 06:00:00', '202610060800', 'Ring 082 555 0123', '1000006', '2026-10-06 06:00:00', 'run', '{"incomingApiMessageId": 5000004, "mobileNumber": "27825550005", "receiveTime": "202610060800", "messageText": "Ring 082 555 0123", "outgoingApiMessageId": 1000006}');

INSERT INTO `short_codes` (`message_id`, `number`, `number_key_id`, `address_kind`, `received_at`, `received_at_wire`, `text`, `loaded_at`, `load_run_id`) VALUES
('5000003', '27825550004', NULL, 'phone', '2026-10-05 06:00:00', '202610050800', 'WIN 1', '2026-10-05 07:00:00', 'run'),
('5000005', '27825550004', NULL, 'phone', '2026-10-06 06:00:00', '202610060800', 'WIN 2', '2026-10-06 06:00:00', 'run');

INSERT INTO `opt_outs` (`number`, `number_key_id`, `address_kind`, `opted_out_at`, `opted_out_at_wire`, `text`, `message_id`, `first_seen_at`, `last_seen_at`, `removed_at`, `loaded_at`, `load_run_id`) VALUES
('27825550001', NULL, 'phone', '2026-10-05 06:00:00', '202610050800', 'STOP', '5000002', '2026-10-05 07:00:00', '2026-10-06 06:00:00', NULL, '2026-10-05 07:00:00', 'run'),
('27825550002', NULL, 'phone', '2026-10-05 06:00:00', '202610050800', '* MANUALLY ADDED BY USER *', NULL, '2026-10-05 07:00:00', '2026-10-05 07:00:00', '2026-10-06 06:00:00', '2026-10-06 06:00:00', 'run'),
('27825550003', NULL, 'phone', '2026-10-05 06:00:00', '202610050800', '* MANUALLY ADDED BY USER *', NULL, '2026-10-05 07:00:00', '2026-10-06 06:00:00', NULL, '2026-10-05 07:00:00', 'run'),
('27825550006', NULL, 'phone', '2026-10-06 06:00:00', '202610060800', '* MANUALLY ADDED BY USER *', NULL, '2026-10-06 06:00:00', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', 'run');

INSERT INTO `opt_outs_history` (`number`, `number_key_id`, `address_kind`, `opted_out_at`, `opted_out_at_wire`, `text`, `message_id`, `first_seen_at`, `last_seen_at`, `removed_at`, `loaded_at`, `load_run_id`) VALUES
('27825550001', NULL, 'phone', '2026-10-05 06:00:00', '202610050800', 'STOP', '5000002', '2026-10-05 07:00:00', '2026-10-06 06:00:00', NULL, '2026-10-05 07:00:00', 'run'),
('27825550002', NULL, 'phone', '2026-10-05 06:00:00', '202610050800', '* MANUALLY ADDED BY USER *', NULL, '2026-10-05 07:00:00', '2026-10-05 07:00:00', '2026-10-06 06:00:00', '2026-10-06 06:00:00', 'run'),
('27825550003', NULL, 'phone', '2026-10-05 06:00:00', '202610050800', '* MANUALLY ADDED BY USER *', NULL, '2026-10-05 07:00:00', '2026-10-06 06:00:00', NULL, '2026-10-05 07:00:00', 'run'),
('27825550006', NULL, 'phone', '2026-10-06 06:00:00', '202610060800', '* MANUALLY ADDED BY USER *', NULL, '2026-10-06 06:00:00', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', 'run');

INSERT INTO `scheduled` (`message_id`, `number`, `number_key_id`, `address_kind`, `submitted_at`, `submitted_at_wire`, `send_at`, `send_at_wire`, `refund`, `currency`, `first_seen_at`, `last_seen_at`, `removed_at`, `loaded_at`, `load_run_id`) VALUES
('1000027', '27825550040', NULL, 'phone', '2026-10-06 06:00:00', '202610060800', '2026-10-06 15:00:00', '202610061700', 1.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', 'run'),
('1000028', '27825550041', NULL, 'phone', '2026-10-06 06:00:00', '202610060800', '2026-10-06 15:00:00', '202610061700', 1.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', 'run'),
('1000029', '27825550042', NULL, 'phone', '2026-10-06 06:00:00', '202610060800', '2026-10-06 15:00:00', '202610061700', 1.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', 'run'),
('1000037', '27825550064', NULL, 'phone', '2026-10-06 06:00:00', '202610060800', '2026-10-06 15:00:00', '202610061700', 1.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', 'run'),
('1000038', '27825550065', NULL, 'phone', '2026-10-06 06:00:00', '202610060800', '2026-10-06 15:00:00', '202610061700', 1.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', 'run');

INSERT INTO `deliveries` (`batch_id`, `round`, `request`, `position`, `message_id`, `dag_id`, `run_id`, `task_id`, `map_index`, `sms_conn_id`, `number`, `number_key_id`, `address_kind`, `state`, `reason`, `cost`, `refund`, `currency`, `submitted_at`, `send_at`, `state_at`, `reference`, `loaded_at`, `load_run_id`) VALUES
('04d5255fc3fd41adf97e10e6100a0428', 1, 1, 0, '1000027', 'dag', 'run', 'scheduled', -1, 'winsms_default', '27825550040', NULL, 'phone', 'scheduled', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:07.295191', NULL, '2026-10-06 06:00:00', 'run'),
('04d5255fc3fd41adf97e10e6100a0428', 1, 1, 1, '1000028', 'dag', 'run', 'scheduled', -1, 'winsms_default', '27825550041', NULL, 'phone', 'scheduled', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:07.295191', NULL, '2026-10-06 06:00:00', 'run'),
('04d5255fc3fd41adf97e10e6100a0428', 1, 1, 2, '1000029', 'dag', 'run', 'scheduled', -1, 'winsms_default', '27825550042', NULL, 'phone', 'scheduled', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:07.295191', NULL, '2026-10-06 06:00:00', 'run'),
('19703dd7815a581d4feab6ac7f43a95b', 1, 1, 0, '1000014', 'dag', 'run', 'two_rounds', -1, 'winsms_default', '27825550020', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL, '2026-10-05 07:00:00', 'run'),
('19703dd7815a581d4feab6ac7f43a95b', 1, 1, 1, '1000015', 'dag', 'run', 'two_rounds', -1, 'winsms_default', '27825550021', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:01:00', NULL, '2026-10-05 07:00:00', 'run'),
('19703dd7815a581d4feab6ac7f43a95b', 1, 1, 2, NULL, 'dag', 'run', 'two_rounds', -1, 'winsms_default', '27825550022', NULL, 'phone', 'declined', 'no_credits', 0.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-06 06:00:05.146925', NULL, '2026-10-05 07:00:00', 'run'),
('19703dd7815a581d4feab6ac7f43a95b', 1, 1, 3, NULL, 'dag', 'run', 'two_rounds', -1, 'winsms_default', '27825550023', NULL, 'phone', 'declined', 'no_credits', 0.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-06 06:00:05.146925', NULL, '2026-10-05 07:00:00', 'run'),
('19703dd7815a581d4feab6ac7f43a95b', 2, 1, 0, '1000018', 'dag', 'run', 'two_rounds', -1, 'winsms_default', '27825550022', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL, '2026-10-05 07:00:00', 'run'),
('19703dd7815a581d4feab6ac7f43a95b', 2, 1, 1, '1000019', 'dag', 'run', 'two_rounds', -1, 'winsms_default', '27825550023', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:01:00', NULL, '2026-10-05 07:00:00', 'run'),
('290ec7e9cbabec6941109014c52a7973', 1, 1, 0, NULL, 'dag', 'run', 'at_most_once', -1, 'winsms_default', '27825550060', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', 'run'),
('290ec7e9cbabec6941109014c52a7973', 1, 1, 1, NULL, 'dag', 'run', 'at_most_once', -1, 'winsms_default', '27825550061', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', 'run'),
('48f9af774e8f9a53b32d1c534aed61d2', 1, 1, 0, '1000030', 'dag', 'run', 'cancelled', -1, 'winsms_default', '27825550043', NULL, 'phone', 'cancelled', NULL, 1.0000, 1.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:07.672528', NULL, '2026-10-06 06:00:00', 'run'),
('48f9af774e8f9a53b32d1c534aed61d2', 1, 1, 1, '1000031', 'dag', 'run', 'cancelled', -1, 'winsms_default', '27825550044', NULL, 'phone', 'cancelled', NULL, 1.0000, 1.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:07.672528', NULL, '2026-10-06 06:00:00', 'run'),
('48f9af774e8f9a53b32d1c534aed61d2', 1, 1, 2, '1000032', 'dag', 'run', 'cancelled', -1, 'winsms_default', '27825550045', NULL, 'phone', 'cancelled', NULL, 1.0000, 1.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:07.672528', NULL, '2026-10-06 06:00:00', 'run'),
('54c2c3560ff0ed1668164e688eb589c9', 1, 1, 0, NULL, 'dag', 'run', 'found', -1, 'winsms_default', '27825550064', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', 'run'),
('54c2c3560ff0ed1668164e688eb589c9', 1, 1, 1, NULL, 'dag', 'run', 'found', -1, 'winsms_default', '27825550065', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', 'run'),
('5716d51c797e09e8a9b1e0d045cade5c', 1, 1, 0, NULL, 'dag', 'run', 'not_found', -1, 'winsms_default', '27825550066', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', 'run'),
('5716d51c797e09e8a9b1e0d045cade5c', 1, 1, 1, NULL, 'dag', 'run', 'not_found', -1, 'winsms_default', '27825550067', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', '2026-10-06 15:00:00', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', 'run'),
('57ffa5e6a60ccf40dc2a064fb018e8e3', 1, 1, 0, '1000033', 'dag', 'run', 'unpaid', -1, 'winsms_default', '27825550050', NULL, 'phone', 'accepted', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:07.903940', NULL, '2026-10-06 06:00:00', 'run'),
('57ffa5e6a60ccf40dc2a064fb018e8e3', 1, 1, 1, NULL, 'dag', 'run', 'unpaid', -1, 'winsms_default', '27825550051', NULL, 'phone', 'declined', 'no_credits', 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:07.903940', NULL, '2026-10-06 06:00:00', 'run'),
('57ffa5e6a60ccf40dc2a064fb018e8e3', 1, 1, 2, NULL, 'dag', 'run', 'unpaid', -1, 'winsms_default', '27825550052', NULL, 'phone', 'declined', 'no_credits', 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:07.903940', NULL, '2026-10-06 06:00:00', 'run'),
('57ffa5e6a60ccf40dc2a064fb018e8e3', 1, 1, 3, NULL, 'dag', 'run', 'unpaid', -1, 'winsms_default', '27825550053', NULL, 'phone', 'declined', 'no_credits', 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:07.903940', NULL, '2026-10-06 06:00:00', 'run'),
('97cdaa01dbd14650617cd61ec38adcfe', 1, 1, 0, NULL, 'dag', 'run', 'resolved', -1, 'winsms_default', '27825550068', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', 'run'),
('97cdaa01dbd14650617cd61ec38adcfe', 1, 1, 1, NULL, 'dag', 'run', 'resolved', -1, 'winsms_default', '27825550069', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', 'run'),
('9c58e3db64edf2c676b964dcb425c46b', 1, 1, 0, '1000010', 'dag', 'run', 'resent', -1, 'winsms_default', '27825550024', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL, '2026-10-05 07:00:00', 'run'),
('9c58e3db64edf2c676b964dcb425c46b', 1, 1, 1, '1000011', 'dag', 'run', 'resent', -1, 'winsms_default', '27825550025', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL, '2026-10-05 07:00:00', 'run'),
('b0ffc96134665ad0cf476b47dd88e4a2', 1, 1, 0, '1000006', 'dag', 'run', 'declined', -1, 'winsms_default', '27825550005', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL, '2026-10-05 07:00:00', 'run'),
('b0ffc96134665ad0cf476b47dd88e4a2', 1, 1, 1, NULL, 'dag', 'run', 'declined', -1, 'winsms_default', '27000000006', NULL, 'phone', 'declined', 'opted_out', 0.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-06 06:00:04.139185', NULL, '2026-10-05 07:00:00', 'run'),
('b9924969f94fd7d9a199a7f43f22262c', 1, 1, 0, '1000012', 'dag', 'run', 'resent', -1, 'winsms_default', '27825550024', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:01:00', NULL, '2026-10-05 07:00:00', 'run'),
('b9924969f94fd7d9a199a7f43f22262c', 1, 1, 1, '1000013', 'dag', 'run', 'resent', -1, 'winsms_default', '27825550025', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL, '2026-10-05 07:00:00', 'run'),
('db8b6d80c048793d1cc1785a5d8dedaf', 1, 1, 0, '1000025', 'dag', 'run', 'kept', -1, 'winsms_default', '27825550035', NULL, 'phone', 'accepted', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:07.086090', NULL, '2026-10-06 06:00:00', 'run'),
('db8b6d80c048793d1cc1785a5d8dedaf', 1, 1, 1, '1000026', 'dag', 'run', 'kept', -1, 'winsms_default', '27825550036', NULL, 'phone', 'accepted', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:07.086090', NULL, '2026-10-06 06:00:00', 'run'),
('dc4a3e398239622ca307b390cef34bcc', 1, 1, 0, NULL, 'dag', 'run', 'at_least_once', -1, 'winsms_default', '27825550062', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', 'run'),
('dc4a3e398239622ca307b390cef34bcc', 1, 1, 1, NULL, 'dag', 'run', 'at_least_once', -1, 'winsms_default', '27825550063', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:00', 'run'),
('de7d65692e35c76e0d1bba7e71e4f48e', 1, 1, 0, '1000020', 'dag', 'run', 'accepted', -1, 'winsms_default', '27825550030', NULL, 'phone', 'accepted', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:06.723167', NULL, '2026-10-06 06:00:00', 'run'),
('de7d65692e35c76e0d1bba7e71e4f48e', 1, 1, 1, '1000021', 'dag', 'run', 'accepted', -1, 'winsms_default', '27825550031', NULL, 'phone', 'accepted', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:06.723167', NULL, '2026-10-06 06:00:00', 'run'),
('de7d65692e35c76e0d1bba7e71e4f48e', 1, 1, 2, '1000022', 'dag', 'run', 'accepted', -1, 'winsms_default', '27825550032', NULL, 'phone', 'accepted', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:06.723167', NULL, '2026-10-06 06:00:00', 'run'),
('f23f0a39551f1562622957f4adc3e6a6', 1, 1, 0, '1000023', 'dag', 'run', 'hashed', -1, 'winsms_default', '38cf83feb0d9fb46f3728ad36e0fba6ca35e9724d71499372d23105337929c69', 'f1fc1cb0', 'phone', 'accepted', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:06.899400', NULL, '2026-10-06 06:00:00', 'run'),
('f23f0a39551f1562622957f4adc3e6a6', 1, 1, 1, '1000024', 'dag', 'run', 'hashed', -1, 'winsms_default', '7f72ae392d659aed841181d8d81603fa4091e265d39f2373f16a9e9479c5a552', 'f1fc1cb0', 'phone', 'accepted', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00', NULL, '2026-10-06 06:00:06.899400', NULL, '2026-10-06 06:00:00', 'run'),
('f6bea3fdd2363b1559ea3f1331857535', 1, 1, 0, '1000001', 'dag', 'run', 'delivered', -1, 'winsms_default', '27000000010', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL, '2026-10-05 07:00:00', 'run'),
('f6bea3fdd2363b1559ea3f1331857535', 1, 1, 1, '1000002', 'dag', 'run', 'delivered', -1, 'winsms_default', '27825550000', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL, '2026-10-05 07:00:00', 'run'),
('f6bea3fdd2363b1559ea3f1331857535', 1, 1, 2, '1000003', 'dag', 'run', 'delivered', -1, 'winsms_default', '27825550001', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:01:00', NULL, '2026-10-05 07:00:00', 'run'),
('f6bea3fdd2363b1559ea3f1331857535', 1, 1, 3, '1000004', 'dag', 'run', 'delivered', -1, 'winsms_default', '27825550002', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:01:00', NULL, '2026-10-05 07:00:00', 'run'),
('f6bea3fdd2363b1559ea3f1331857535', 1, 1, 4, '1000005', 'dag', 'run', 'delivered', -1, 'winsms_default', '27825550003', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', NULL, '2026-10-05 07:00:00', 'run'),
('fc54e887a8c30ced3f14053afd8cf7b6', 1, 1, 0, '1000008', 'dag', 'run', 'send', -1, 'winsms_default', '27825550010', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:00:00', 'customer 1', '2026-10-05 07:00:00', 'run'),
('fc54e887a8c30ced3f14053afd8cf7b6', 1, 1, 1, '1000009', 'dag', 'run', 'send', -1, 'winsms_default', '27825550011', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00', NULL, '2026-10-05 06:01:00', 'customer 2', '2026-10-05 07:00:00', 'run');

CREATE OR REPLACE VIEW `sms_delivery_rate` AS SELECT DATE(m.submitted_at) AS day, b.dag_id AS dag_id, COUNT(*) AS accepted, SUM(CASE WHEN m.state = 'delivered' THEN 1 ELSE 0 END) AS delivered, SUM(CASE WHEN m.state = 'delivered' THEN 1 ELSE 0 END) * 1.0 / COUNT(*) AS rate
    FROM `sms_messages` m INNER JOIN `sms_batches` b ON b.batch_id = m.batch_id
    WHERE m.state IN ('accepted', 'scheduled', 'cancelling', 'queued', 'sent', 'delivered', 'failed', 'not_sent', 'not_found') GROUP BY DATE(m.submitted_at), b.dag_id;

CREATE OR REPLACE VIEW `sms_time_to_deliver` AS SELECT DATE(m.submitted_at) AS day, b.dag_id AS dag_id, COUNT(*) AS delivered, AVG((TIMESTAMPDIFF(MICROSECOND, COALESCE(m.send_at, m.submitted_at), m.state_at) / 1000000)) AS avg_seconds, MAX((TIMESTAMPDIFF(MICROSECOND, COALESCE(m.send_at, m.submitted_at), m.state_at) / 1000000)) AS max_seconds
    FROM `sms_messages` m INNER JOIN `sms_batches` b ON b.batch_id = m.batch_id
    WHERE m.state = 'delivered' GROUP BY DATE(m.submitted_at), b.dag_id;

CREATE OR REPLACE VIEW `sms_cost_per_delivered` AS SELECT DATE(m.submitted_at) AS day, b.dag_id AS dag_id, m.currency AS currency, ROUND(SUM(m.cost), 4) AS cost, SUM(CASE WHEN m.state = 'delivered' THEN 1 ELSE 0 END) AS delivered, ROUND(SUM(m.cost) * 1.0 / NULLIF(SUM(CASE WHEN m.state = 'delivered' THEN 1 ELSE 0 END), 0), 4) AS cost_per_delivered
    FROM `sms_messages` m INNER JOIN `sms_batches` b ON b.batch_id = m.batch_id
    WHERE m.state IN ('accepted', 'scheduled', 'cancelling', 'queued', 'sent', 'delivered', 'failed', 'not_sent', 'not_found') GROUP BY DATE(m.submitted_at), b.dag_id, m.currency;

CREATE OR REPLACE VIEW `sms_opt_out_rate` AS SELECT DATE(m.submitted_at) AS day, b.dag_id AS dag_id, COUNT(*) AS recipients, SUM(CASE WHEN m.reason = 'opted_out' THEN 1 ELSE 0 END) AS opted_out, SUM(CASE WHEN m.reason = 'opted_out' THEN 1 ELSE 0 END) * 1.0 / COUNT(*) AS rate
    FROM `sms_messages` m INNER JOIN `sms_batches` b ON b.batch_id = m.batch_id
    WHERE m.state <> 'cancelled' AND (m.reason IS NULL OR m.reason NOT IN ('no_credits', 'account_locked', 'trial_account', 'not_received', 'cancelled')) GROUP BY DATE(m.submitted_at), b.dag_id;

CREATE OR REPLACE VIEW `sms_delivery_by_day` AS SELECT DATE(submitted_at) AS day, dag_id, COUNT(*) AS accepted,
    SUM(CASE WHEN state = 'delivered' THEN 1 ELSE 0 END) AS delivered, SUM(CASE WHEN state IN ('failed', 'not_sent') THEN 1 ELSE 0 END) AS failed, COUNT(*) - SUM(CASE WHEN state = 'delivered' THEN 1 ELSE 0 END) - SUM(CASE WHEN state IN ('failed', 'not_sent') THEN 1 ELSE 0 END) AS still_open,
    ROUND(SUM(CASE WHEN state = 'delivered' THEN 1 ELSE 0 END) * 1.0 / COUNT(*), 4) AS rate
FROM `deliveries` WHERE state IN ('accepted', 'scheduled', 'cancelling', 'queued', 'sent', 'delivered', 'failed', 'not_sent', 'not_found') GROUP BY DATE(submitted_at), dag_id;

CREATE OR REPLACE VIEW `sms_delivery_time_by_day` AS WITH arrivals AS (SELECT DATE(submitted_at) AS day, dag_id,
        CASE WHEN (TIMESTAMPDIFF(MICROSECOND, COALESCE(send_at, submitted_at), state_at) / 1000000) < 0 THEN 0 ELSE (TIMESTAMPDIFF(MICROSECOND, COALESCE(send_at, submitted_at), state_at) / 1000000) END AS late
    FROM `deliveries` WHERE state = 'delivered'),
ranked_arrivals AS (SELECT day, dag_id, late,
        ROW_NUMBER() OVER (PARTITION BY day, dag_id ORDER BY late) AS nth,
        COUNT(*) OVER (PARTITION BY day, dag_id) AS total
    FROM arrivals)
SELECT day, dag_id, COUNT(*) AS delivered, ROUND(AVG(late), 1) AS avg_seconds,
    ROUND(MIN(CASE WHEN nth * 100 >= total * 50 THEN late END), 1) AS median_seconds,
    ROUND(MIN(CASE WHEN nth * 100 >= total * 95 THEN late END), 1) AS p95_seconds,
    ROUND(MAX(late), 1) AS max_seconds
FROM ranked_arrivals GROUP BY day, dag_id;

CREATE OR REPLACE VIEW `sms_cost_by_day` AS SELECT DATE(submitted_at) AS day, dag_id, COUNT(*) AS texts, currency,
    ROUND(SUM(cost), 4) AS cost, ROUND(SUM(refund), 4) AS refund, ROUND(SUM(cost - refund), 4) AS net_cost,
    SUM(CASE WHEN state = 'delivered' THEN 1 ELSE 0 END) AS delivered,
    ROUND(SUM(cost - refund) * 1.0 / NULLIF(SUM(CASE WHEN state = 'delivered' THEN 1 ELSE 0 END), 0), 4) AS cost_per_delivered
FROM `deliveries` WHERE state IN ('accepted', 'scheduled', 'cancelling', 'queued', 'sent', 'delivered', 'failed', 'not_sent', 'not_found', 'cancelled') GROUP BY DATE(submitted_at), dag_id, currency;

CREATE OR REPLACE VIEW `sms_replies_by_campaign` AS WITH texts AS (SELECT dag_id, run_id, task_id, message_id, number, COALESCE(number_key_id, '') AS key_id, COALESCE(send_at, submitted_at) AS left_at,
        LEAD(COALESCE(send_at, submitted_at)) OVER (PARTITION BY number, COALESCE(number_key_id, '') ORDER BY COALESCE(send_at, submitted_at), COALESCE(LENGTH(message_id), 0), message_id, batch_id) AS next_at,
        ROW_NUMBER() OVER (PARTITION BY dag_id, run_id, task_id, number, COALESCE(number_key_id, '') ORDER BY COALESCE(send_at, submitted_at), COALESCE(LENGTH(message_id), 0), message_id, batch_id) AS nth
    FROM `deliveries` WHERE state IN ('accepted', 'scheduled', 'cancelling', 'queued', 'sent', 'delivered', 'failed', 'not_sent', 'not_found')),
ids AS (SELECT message_id, dag_id, run_id, task_id FROM (
        SELECT message_id, dag_id, run_id, task_id,
            ROW_NUMBER() OVER (PARTITION BY message_id ORDER BY COALESCE(send_at, submitted_at), COALESCE(LENGTH(message_id), 0), message_id, batch_id) AS nth
        FROM `deliveries` WHERE message_id IS NOT NULL) AS numbered WHERE nth = 1),
replies AS (SELECT COALESCE(m.dag_id, t.dag_id) AS dag_id, COALESCE(m.run_id, t.run_id) AS run_id,
        COALESCE(m.task_id, t.task_id) AS task_id, i.number, COALESCE(i.number_key_id, '') AS key_id,
        CASE WHEN m.message_id IS NULL THEN 0 ELSE 1 END AS by_id
    FROM `incoming` i LEFT JOIN ids m ON m.message_id = i.in_reply_to
    LEFT JOIN texts t ON m.message_id IS NULL AND t.number = i.number
        AND t.key_id = COALESCE(i.number_key_id, '') AND (TIMESTAMPDIFF(MICROSECOND, t.left_at, i.received_at) / 1000000) > -60 AND (t.next_at IS NULL OR (TIMESTAMPDIFF(MICROSECOND, t.next_at, i.received_at) / 1000000) <= -60)),
counted_replies AS (SELECT dag_id, run_id, task_id, by_id,
        ROW_NUMBER() OVER (PARTITION BY dag_id, run_id, task_id, number, key_id ORDER BY by_id) AS nth
    FROM replies)
SELECT dag_id, run_id, task_id, MIN(left_at) AS started_at, SUM(text) AS texts,
    SUM(recipient) AS recipients, SUM(reply) AS replies, SUM(by_id) AS by_id, SUM(replier) AS repliers,
    ROUND(SUM(replier) * 1.0 / NULLIF(SUM(recipient), 0), 4) AS reply_rate
FROM (
    SELECT dag_id, run_id, task_id, left_at, 1 AS text, CASE WHEN nth = 1 THEN 1 ELSE 0 END AS recipient,
        0 AS reply, 0 AS by_id, 0 AS replier FROM texts
    UNION ALL SELECT dag_id, run_id, task_id, NULL, 0, 0, 1, by_id, CASE WHEN nth = 1 THEN 1 ELSE 0 END
        FROM counted_replies) AS events
GROUP BY dag_id, run_id, task_id;

CREATE OR REPLACE VIEW `sms_opt_outs_by_campaign` AS WITH texts AS (SELECT dag_id, run_id, task_id, message_id, number, COALESCE(number_key_id, '') AS key_id, COALESCE(send_at, submitted_at) AS left_at,
        LEAD(COALESCE(send_at, submitted_at)) OVER (PARTITION BY number, COALESCE(number_key_id, '') ORDER BY COALESCE(send_at, submitted_at), COALESCE(LENGTH(message_id), 0), message_id, batch_id) AS next_at,
        ROW_NUMBER() OVER (PARTITION BY dag_id, run_id, task_id, number, COALESCE(number_key_id, '') ORDER BY COALESCE(send_at, submitted_at), COALESCE(LENGTH(message_id), 0), message_id, batch_id) AS nth
    FROM `deliveries` WHERE state IN ('accepted', 'scheduled', 'cancelling', 'queued', 'sent', 'delivered', 'failed', 'not_sent', 'not_found')),
listed AS (SELECT number, COALESCE(number_key_id, '') AS key_id, opted_out_at, first_seen_at, last_seen_at, removed_at
        FROM `opt_outs_history`
    UNION ALL SELECT c.number, COALESCE(c.number_key_id, ''), c.opted_out_at, c.first_seen_at,
        c.last_seen_at, c.removed_at
    FROM `opt_outs` c WHERE NOT EXISTS (SELECT 1 FROM `opt_outs_history` h
        WHERE h.number = c.number AND COALESCE(h.number_key_id, '') = COALESCE(c.number_key_id, ''))),
asked AS (SELECT number, key_id, MIN(opted_out_at) AS opted_out_at,
        MAX(CASE WHEN removed_at IS NULL THEN 1 ELSE 0 END) AS is_out
    FROM listed GROUP BY number, key_id, COALESCE(opted_out_at, first_seen_at))
SELECT dag_id, run_id, task_id, MIN(left_at) AS started_at, SUM(text) AS texts,
    SUM(recipient) AS recipients, SUM(opt_out) AS opt_outs, SUM(is_out) AS still_out,
    ROUND(SUM(opt_out) * 1.0 / NULLIF(SUM(recipient), 0), 4) AS opt_out_rate
FROM (
    SELECT dag_id, run_id, task_id, left_at, 1 AS text, CASE WHEN nth = 1 THEN 1 ELSE 0 END AS recipient,
        0 AS opt_out, 0 AS is_out FROM texts
    UNION ALL SELECT t.dag_id, t.run_id, t.task_id, NULL, 0, 0, 1, a.is_out
        FROM asked a LEFT JOIN texts t ON t.number = a.number AND t.key_id = a.key_id
        AND (TIMESTAMPDIFF(MICROSECOND, t.left_at, a.opted_out_at) / 1000000) > -60 AND (t.next_at IS NULL OR (TIMESTAMPDIFF(MICROSECOND, t.next_at, a.opted_out_at) / 1000000) <= -60)) AS events
GROUP BY dag_id, run_id, task_id;

CREATE OR REPLACE VIEW `sms_texts_after_opt_out` AS WITH listed AS (SELECT number, COALESCE(number_key_id, '') AS key_id, opted_out_at, first_seen_at, last_seen_at, removed_at
        FROM `opt_outs_history`
    UNION ALL SELECT c.number, COALESCE(c.number_key_id, ''), c.opted_out_at, c.first_seen_at,
        c.last_seen_at, c.removed_at
    FROM `opt_outs` c WHERE NOT EXISTS (SELECT 1 FROM `opt_outs_history` h
        WHERE h.number = c.number AND COALESCE(h.number_key_id, '') = COALESCE(c.number_key_id, ''))),
periods AS (SELECT number, key_id, last_seen_at, removed_at,
        COALESCE(opted_out_at, first_seen_at) AS began,
        LEAD(COALESCE(opted_out_at, first_seen_at)) OVER (PARTITION BY number, key_id
            ORDER BY COALESCE(opted_out_at, first_seen_at), first_seen_at) AS next_began
    FROM listed),
late_texts AS (SELECT d.dag_id, d.state, d.reason, (TIMESTAMPDIFF(MICROSECOND, s.began, COALESCE(send_at, submitted_at)) / 1000000) AS since,
        CASE WHEN s.removed_at IS NULL OR (TIMESTAMPDIFF(MICROSECOND, s.last_seen_at, COALESCE(send_at, submitted_at)) / 1000000) <= 0 THEN 1 ELSE 0 END
            AS was_listed
    FROM `deliveries` d INNER JOIN periods s ON s.number = d.number
        AND s.key_id = COALESCE(d.number_key_id, '') AND (TIMESTAMPDIFF(MICROSECOND, s.began, COALESCE(send_at, submitted_at)) / 1000000) >= 60
        AND (s.next_began IS NULL OR (TIMESTAMPDIFF(MICROSECOND, s.next_began, COALESCE(send_at, submitted_at)) / 1000000) < 60)
        AND (s.removed_at IS NULL OR (TIMESTAMPDIFF(MICROSECOND, s.removed_at, COALESCE(send_at, submitted_at)) / 1000000) < 0)),
judged AS (SELECT dag_id, since,
        CASE WHEN state IN ('accepted', 'queued', 'sent', 'delivered', 'failed') AND was_listed = 1 THEN 1 ELSE 0 END AS sent,
        CASE WHEN state IN ('unknown', 'scheduled', 'cancelling', 'not_found') OR (state IN ('accepted', 'queued', 'sent', 'delivered', 'failed') AND was_listed = 0)
            THEN 1 ELSE 0 END AS in_doubt,
        CASE WHEN state = 'not_sent' OR (state = 'declined' AND reason = 'opted_out') THEN 1 ELSE 0 END
            AS stopped
    FROM late_texts)
SELECT FLOOR(since / 86400) AS days_since, dag_id, SUM(sent) AS sent, SUM(in_doubt) AS in_doubt,
    SUM(stopped) AS stopped
FROM judged WHERE sent + in_doubt + stopped > 0 GROUP BY FLOOR(since / 86400), dag_id;

CREATE OR REPLACE VIEW `sms_opt_out_check` AS WITH listed AS (SELECT number, COALESCE(number_key_id, '') AS key_id, opted_out_at, first_seen_at, last_seen_at, removed_at
        FROM `opt_outs_history`
    UNION ALL SELECT c.number, COALESCE(c.number_key_id, ''), c.opted_out_at, c.first_seen_at,
        c.last_seen_at, c.removed_at
    FROM `opt_outs` c WHERE NOT EXISTS (SELECT 1 FROM `opt_outs_history` h
        WHERE h.number = c.number AND COALESCE(h.number_key_id, '') = COALESCE(c.number_key_id, ''))),
periods AS (SELECT number, key_id, last_seen_at, removed_at,
        COALESCE(opted_out_at, first_seen_at) AS began,
        LEAD(COALESCE(opted_out_at, first_seen_at)) OVER (PARTITION BY number, key_id
            ORDER BY COALESCE(opted_out_at, first_seen_at), first_seen_at) AS next_began
    FROM listed),
late_texts AS (SELECT d.dag_id, d.state, d.reason, (TIMESTAMPDIFF(MICROSECOND, s.began, COALESCE(send_at, submitted_at)) / 1000000) AS since,
        CASE WHEN s.removed_at IS NULL OR (TIMESTAMPDIFF(MICROSECOND, s.last_seen_at, COALESCE(send_at, submitted_at)) / 1000000) <= 0 THEN 1 ELSE 0 END
            AS was_listed
    FROM `deliveries` d INNER JOIN periods s ON s.number = d.number
        AND s.key_id = COALESCE(d.number_key_id, '') AND (TIMESTAMPDIFF(MICROSECOND, s.began, COALESCE(send_at, submitted_at)) / 1000000) >= 60
        AND (s.next_began IS NULL OR (TIMESTAMPDIFF(MICROSECOND, s.next_began, COALESCE(send_at, submitted_at)) / 1000000) < 60)
        AND (s.removed_at IS NULL OR (TIMESTAMPDIFF(MICROSECOND, s.removed_at, COALESCE(send_at, submitted_at)) / 1000000) < 0)),
judged AS (SELECT dag_id, since,
        CASE WHEN state IN ('accepted', 'queued', 'sent', 'delivered', 'failed') AND was_listed = 1 THEN 1 ELSE 0 END AS sent,
        CASE WHEN state IN ('unknown', 'scheduled', 'cancelling', 'not_found') OR (state IN ('accepted', 'queued', 'sent', 'delivered', 'failed') AND was_listed = 0)
            THEN 1 ELSE 0 END AS in_doubt,
        CASE WHEN state = 'not_sent' OR (state = 'declined' AND reason = 'opted_out') THEN 1 ELSE 0 END
            AS stopped
    FROM late_texts),
per_number AS (SELECT COUNT(*) AS spells,
        SUM(CASE WHEN removed_at IS NULL THEN 1 ELSE 0 END) AS open_periods
    FROM listed GROUP BY number, key_id)
SELECT n.numbers, n.spells, n.out_now, n.again, l.sent, l.in_doubt, l.stopped
FROM (SELECT COUNT(*) AS numbers, COALESCE(SUM(spells), 0) AS spells,
        COALESCE(SUM(CASE WHEN open_periods > 0 THEN 1 ELSE 0 END), 0) AS out_now,
        COALESCE(SUM(CASE WHEN spells > 1 THEN 1 ELSE 0 END), 0) AS again FROM per_number) AS n
    CROSS JOIN (SELECT COALESCE(SUM(sent), 0) AS sent, COALESCE(SUM(in_doubt), 0) AS in_doubt,
        COALESCE(SUM(stopped), 0) AS stopped FROM judged) AS l;

