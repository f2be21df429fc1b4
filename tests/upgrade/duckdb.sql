CREATE TABLE IF NOT EXISTS "incoming" ("message_id" VARCHAR NOT NULL, "number" TEXT NOT NULL, "number_key_id" TEXT, "address_kind" TEXT, "received_at" TIMESTAMP WITH TIME ZONE, "received_at_wire" TEXT, "text" TEXT, "in_reply_to" VARCHAR, "loaded_at" TIMESTAMP WITH TIME ZONE NOT NULL, "load_run_id" TEXT, PRIMARY KEY ("message_id"));

CREATE TABLE IF NOT EXISTS "incoming_hashed" ("message_id" VARCHAR NOT NULL, "number" TEXT NOT NULL, "number_key_id" TEXT, "address_kind" TEXT, "received_at" TIMESTAMP WITH TIME ZONE, "received_at_wire" TEXT, "text" TEXT, "in_reply_to" VARCHAR, "loaded_at" TIMESTAMP WITH TIME ZONE NOT NULL, "load_run_id" TEXT, PRIMARY KEY ("message_id"));

CREATE TABLE IF NOT EXISTS "incoming_raw" ("message_id" VARCHAR NOT NULL, "number" TEXT NOT NULL, "number_key_id" TEXT, "address_kind" TEXT, "received_at" TIMESTAMP WITH TIME ZONE, "received_at_wire" TEXT, "text" TEXT, "in_reply_to" VARCHAR, "loaded_at" TIMESTAMP WITH TIME ZONE NOT NULL, "load_run_id" TEXT, "raw" TEXT, PRIMARY KEY ("message_id"));

CREATE TABLE IF NOT EXISTS "short_codes" ("message_id" VARCHAR NOT NULL, "number" TEXT NOT NULL, "number_key_id" TEXT, "address_kind" TEXT, "received_at" TIMESTAMP WITH TIME ZONE, "received_at_wire" TEXT, "text" TEXT, "loaded_at" TIMESTAMP WITH TIME ZONE NOT NULL, "load_run_id" TEXT, PRIMARY KEY ("message_id"));

CREATE TABLE IF NOT EXISTS "opt_outs" ("number" TEXT NOT NULL, "number_key_id" TEXT, "address_kind" TEXT, "opted_out_at" TIMESTAMP WITH TIME ZONE, "opted_out_at_wire" TEXT, "text" TEXT, "message_id" VARCHAR, "first_seen_at" TIMESTAMP WITH TIME ZONE NOT NULL, "last_seen_at" TIMESTAMP WITH TIME ZONE NOT NULL, "removed_at" TIMESTAMP WITH TIME ZONE, "loaded_at" TIMESTAMP WITH TIME ZONE NOT NULL, "load_run_id" TEXT, PRIMARY KEY ("number"));

CREATE TABLE IF NOT EXISTS "opt_outs_history" ("number" TEXT NOT NULL, "number_key_id" TEXT, "address_kind" TEXT, "opted_out_at" TIMESTAMP WITH TIME ZONE, "opted_out_at_wire" TEXT, "text" TEXT, "message_id" VARCHAR, "first_seen_at" TIMESTAMP WITH TIME ZONE NOT NULL, "last_seen_at" TIMESTAMP WITH TIME ZONE NOT NULL, "removed_at" TIMESTAMP WITH TIME ZONE, "loaded_at" TIMESTAMP WITH TIME ZONE NOT NULL, "load_run_id" TEXT, PRIMARY KEY ("number", "first_seen_at"));

CREATE TABLE IF NOT EXISTS "scheduled" ("message_id" VARCHAR NOT NULL, "number" TEXT NOT NULL, "number_key_id" TEXT, "address_kind" TEXT, "submitted_at" TIMESTAMP WITH TIME ZONE, "submitted_at_wire" TEXT, "send_at" TIMESTAMP WITH TIME ZONE, "send_at_wire" TEXT, "refund" DECIMAL(14, 4), "currency" TEXT, "first_seen_at" TIMESTAMP WITH TIME ZONE NOT NULL, "last_seen_at" TIMESTAMP WITH TIME ZONE NOT NULL, "removed_at" TIMESTAMP WITH TIME ZONE, "loaded_at" TIMESTAMP WITH TIME ZONE NOT NULL, "load_run_id" TEXT, PRIMARY KEY ("message_id"));

CREATE TABLE IF NOT EXISTS "deliveries" ("batch_id" TEXT NOT NULL, "round" INTEGER NOT NULL, "request" INTEGER NOT NULL, "position" INTEGER NOT NULL, "message_id" VARCHAR, "dag_id" TEXT, "run_id" TEXT, "task_id" TEXT, "map_index" INTEGER, "sms_conn_id" TEXT, "number" TEXT NOT NULL, "number_key_id" TEXT, "address_kind" TEXT, "state" TEXT, "reason" TEXT, "cost" DECIMAL(14, 4), "refund" DECIMAL(14, 4), "currency" TEXT, "submitted_at" TIMESTAMP WITH TIME ZONE, "send_at" TIMESTAMP WITH TIME ZONE, "state_at" TIMESTAMP WITH TIME ZONE, "reference" TEXT, "loaded_at" TIMESTAMP WITH TIME ZONE NOT NULL, "load_run_id" TEXT, PRIMARY KEY ("batch_id", "round", "request", "position"));

INSERT INTO "incoming" ("message_id", "number", "number_key_id", "address_kind", "received_at", "received_at_wire", "text", "in_reply_to", "loaded_at", "load_run_id") VALUES
('5000001', '27825550000', NULL, 'phone', '2026-10-05 06:00:00+00', '202610050800', 'YES; it''s me, ''Ann''', '1000002', '2026-10-05 07:00:00+00', 'run'),
('5000002', '27825550001', NULL, 'phone', '2026-10-05 06:00:00+00', '202610050800', 'STOP', '1000003', '2026-10-05 07:00:00+00', 'run'),
('5000004', '27825550005', NULL, 'phone', '2026-10-06 06:00:00+00', '202610060800', 'Ring 082 555 0123', '1000006', '2026-10-06 06:00:00+00', 'run');

INSERT INTO "incoming_hashed" ("message_id", "number", "number_key_id", "address_kind", "received_at", "received_at_wire", "text", "in_reply_to", "loaded_at", "load_run_id") VALUES
('5000001', 'cc2deb4c21274f5a6d039d6514edfedfe1bbbc000eb129ae3484f7e22d30ec36', 'f1fc1cb0', 'phone', '2026-10-05 06:00:00+00', '202610050800', 'YES; it''s me, ''Ann''', '1000002', '2026-10-05 07:00:00+00', 'run'),
('5000002', 'c995fcfea2b1f65727d7f0a4023e0c232de7750446b747a4fbf17e55b1e3b766', 'f1fc1cb0', 'phone', '2026-10-05 06:00:00+00', '202610050800', 'STOP', '1000003', '2026-10-05 07:00:00+00', 'run'),
('5000004', '1b88d5fcaeeb03d8e1403cd519a069e2f83b355739a32872665a6f5cd335f9c7', 'f1fc1cb0', 'phone', '2026-10-06 06:00:00+00', '202610060800', 'Ring [number]', '1000006', '2026-10-06 06:00:00+00', 'run');

INSERT INTO "incoming_raw" ("message_id", "number", "number_key_id", "address_kind", "received_at", "received_at_wire", "text", "in_reply_to", "loaded_at", "load_run_id", "raw") VALUES
('5000001', '27825550000', NULL, 'phone', '2026-10-05 06:00:00+00', '202610050800', 'YES; it''s me, ''Ann''', '1000002', '2026-10-05 07:00:00+00', 'run', '{"incomingApiMessageId": 5000001, "mobileNumber": "27825550000", "receiveTime": "202610050800", "messageText": "YES; it''s me, ''Ann''", "outgoingApiMessageId": 1000002}'),
('5000002', '27825550001', NULL, 'phone', '2026-10-05 06:00:00+00', '202610050800', 'STOP', '1000003', '2026-10-05 07:00:00+00', 'run', '{"incomingApiMessageId": 5000002, "mobileNumber": "27825550001", "receiveTime": "202610050800", "messageText": "STOP", "outgoingApiMessageId": 1000003}'),
('5000004', '27825550005', NULL, 'phone', '2026-10-06 06:00:00+00', '202610060800', 'Ring 082 555 0123', '1000006', '2026-10-06 06:00:00+00', 'run', '{"incomingApiMessageId": 5000004, "mobileNumber": "27825550005", "receiveTime": "202610060800", "messageText": "Ring 082 555 0123", "outgoingApiMessageId": 1000006}');

INSERT INTO "short_codes" ("message_id", "number", "number_key_id", "address_kind", "received_at", "received_at_wire", "text", "loaded_at", "load_run_id") VALUES
('5000003', '27825550004', NULL, 'phone', '2026-10-05 06:00:00+00', '202610050800', 'WIN 1', '2026-10-05 07:00:00+00', 'run'),
('5000005', '27825550004', NULL, 'phone', '2026-10-06 06:00:00+00', '202610060800', 'WIN 2', '2026-10-06 06:00:00+00', 'run');

INSERT INTO "opt_outs" ("number", "number_key_id", "address_kind", "opted_out_at", "opted_out_at_wire", "text", "message_id", "first_seen_at", "last_seen_at", "removed_at", "loaded_at", "load_run_id") VALUES
('27825550001', NULL, 'phone', '2026-10-05 06:00:00+00', '202610050800', 'STOP', '5000002', '2026-10-05 07:00:00+00', '2026-10-06 06:00:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('27825550002', NULL, 'phone', '2026-10-05 06:00:00+00', '202610050800', '* MANUALLY ADDED BY USER *', NULL, '2026-10-05 07:00:00+00', '2026-10-05 07:00:00+00', '2026-10-06 06:00:00+00', '2026-10-06 06:00:00+00', 'run'),
('27825550003', NULL, 'phone', '2026-10-05 06:00:00+00', '202610050800', '* MANUALLY ADDED BY USER *', NULL, '2026-10-05 07:00:00+00', '2026-10-06 06:00:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('27825550006', NULL, 'phone', '2026-10-06 06:00:00+00', '202610060800', '* MANUALLY ADDED BY USER *', NULL, '2026-10-06 06:00:00+00', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', 'run');

INSERT INTO "opt_outs_history" ("number", "number_key_id", "address_kind", "opted_out_at", "opted_out_at_wire", "text", "message_id", "first_seen_at", "last_seen_at", "removed_at", "loaded_at", "load_run_id") VALUES
('27825550001', NULL, 'phone', '2026-10-05 06:00:00+00', '202610050800', 'STOP', '5000002', '2026-10-05 07:00:00+00', '2026-10-06 06:00:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('27825550002', NULL, 'phone', '2026-10-05 06:00:00+00', '202610050800', '* MANUALLY ADDED BY USER *', NULL, '2026-10-05 07:00:00+00', '2026-10-05 07:00:00+00', '2026-10-06 06:00:00+00', '2026-10-06 06:00:00+00', 'run'),
('27825550003', NULL, 'phone', '2026-10-05 06:00:00+00', '202610050800', '* MANUALLY ADDED BY USER *', NULL, '2026-10-05 07:00:00+00', '2026-10-06 06:00:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('27825550006', NULL, 'phone', '2026-10-06 06:00:00+00', '202610060800', '* MANUALLY ADDED BY USER *', NULL, '2026-10-06 06:00:00+00', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', 'run');

INSERT INTO "scheduled" ("message_id", "number", "number_key_id", "address_kind", "submitted_at", "submitted_at_wire", "send_at", "send_at_wire", "refund", "currency", "first_seen_at", "last_seen_at", "removed_at", "loaded_at", "load_run_id") VALUES
('1000027', '27825550040', NULL, 'phone', '2026-10-06 06:00:00+00', '202610060800', '2026-10-06 15:00:00+00', '202610061700', 1.0000, 'credits', '2026-10-06 06:00:00+00', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('1000028', '27825550041', NULL, 'phone', '2026-10-06 06:00:00+00', '202610060800', '2026-10-06 15:00:00+00', '202610061700', 1.0000, 'credits', '2026-10-06 06:00:00+00', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('1000029', '27825550042', NULL, 'phone', '2026-10-06 06:00:00+00', '202610060800', '2026-10-06 15:00:00+00', '202610061700', 1.0000, 'credits', '2026-10-06 06:00:00+00', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('1000037', '27825550064', NULL, 'phone', '2026-10-06 06:00:00+00', '202610060800', '2026-10-06 15:00:00+00', '202610061700', 1.0000, 'credits', '2026-10-06 06:00:00+00', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('1000038', '27825550065', NULL, 'phone', '2026-10-06 06:00:00+00', '202610060800', '2026-10-06 15:00:00+00', '202610061700', 1.0000, 'credits', '2026-10-06 06:00:00+00', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', 'run');

INSERT INTO "deliveries" ("batch_id", "round", "request", "position", "message_id", "dag_id", "run_id", "task_id", "map_index", "sms_conn_id", "number", "number_key_id", "address_kind", "state", "reason", "cost", "refund", "currency", "submitted_at", "send_at", "state_at", "reference", "loaded_at", "load_run_id") VALUES
('04d5255fc3fd41adf97e10e6100a0428', 1, 1, 0, '1000027', 'dag', 'run', 'scheduled', -1, 'winsms_default', '27825550040', NULL, 'phone', 'scheduled', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', '2026-10-06 15:00:00+00', '2026-10-06 06:00:15.195635+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('04d5255fc3fd41adf97e10e6100a0428', 1, 1, 1, '1000028', 'dag', 'run', 'scheduled', -1, 'winsms_default', '27825550041', NULL, 'phone', 'scheduled', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', '2026-10-06 15:00:00+00', '2026-10-06 06:00:15.195635+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('04d5255fc3fd41adf97e10e6100a0428', 1, 1, 2, '1000029', 'dag', 'run', 'scheduled', -1, 'winsms_default', '27825550042', NULL, 'phone', 'scheduled', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', '2026-10-06 15:00:00+00', '2026-10-06 06:00:15.195635+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('19703dd7815a581d4feab6ac7f43a95b', 1, 1, 0, '1000014', 'dag', 'run', 'two_rounds', -1, 'winsms_default', '27825550020', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-05 06:00:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('19703dd7815a581d4feab6ac7f43a95b', 1, 1, 1, '1000015', 'dag', 'run', 'two_rounds', -1, 'winsms_default', '27825550021', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-05 06:01:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('19703dd7815a581d4feab6ac7f43a95b', 1, 1, 2, NULL, 'dag', 'run', 'two_rounds', -1, 'winsms_default', '27825550022', NULL, 'phone', 'declined', 'no_credits', 0.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-06 06:00:11.670988+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('19703dd7815a581d4feab6ac7f43a95b', 1, 1, 3, NULL, 'dag', 'run', 'two_rounds', -1, 'winsms_default', '27825550023', NULL, 'phone', 'declined', 'no_credits', 0.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-06 06:00:11.670988+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('19703dd7815a581d4feab6ac7f43a95b', 2, 1, 0, '1000018', 'dag', 'run', 'two_rounds', -1, 'winsms_default', '27825550022', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-05 06:00:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('19703dd7815a581d4feab6ac7f43a95b', 2, 1, 1, '1000019', 'dag', 'run', 'two_rounds', -1, 'winsms_default', '27825550023', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-05 06:01:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('290ec7e9cbabec6941109014c52a7973', 1, 1, 0, NULL, 'dag', 'run', 'at_most_once', -1, 'winsms_default', '27825550060', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('290ec7e9cbabec6941109014c52a7973', 1, 1, 1, NULL, 'dag', 'run', 'at_most_once', -1, 'winsms_default', '27825550061', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('48f9af774e8f9a53b32d1c534aed61d2', 1, 1, 0, '1000030', 'dag', 'run', 'cancelled', -1, 'winsms_default', '27825550043', NULL, 'phone', 'cancelled', NULL, 1.0000, 1.0000, 'credits', '2026-10-06 06:00:00+00', '2026-10-06 15:00:00+00', '2026-10-06 06:00:15.525788+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('48f9af774e8f9a53b32d1c534aed61d2', 1, 1, 1, '1000031', 'dag', 'run', 'cancelled', -1, 'winsms_default', '27825550044', NULL, 'phone', 'cancelled', NULL, 1.0000, 1.0000, 'credits', '2026-10-06 06:00:00+00', '2026-10-06 15:00:00+00', '2026-10-06 06:00:15.525788+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('48f9af774e8f9a53b32d1c534aed61d2', 1, 1, 2, '1000032', 'dag', 'run', 'cancelled', -1, 'winsms_default', '27825550045', NULL, 'phone', 'cancelled', NULL, 1.0000, 1.0000, 'credits', '2026-10-06 06:00:00+00', '2026-10-06 15:00:00+00', '2026-10-06 06:00:15.525788+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('54c2c3560ff0ed1668164e688eb589c9', 1, 1, 0, NULL, 'dag', 'run', 'found', -1, 'winsms_default', '27825550064', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', '2026-10-06 15:00:00+00', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('54c2c3560ff0ed1668164e688eb589c9', 1, 1, 1, NULL, 'dag', 'run', 'found', -1, 'winsms_default', '27825550065', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', '2026-10-06 15:00:00+00', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('5716d51c797e09e8a9b1e0d045cade5c', 1, 1, 0, NULL, 'dag', 'run', 'not_found', -1, 'winsms_default', '27825550066', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', '2026-10-06 15:00:00+00', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('5716d51c797e09e8a9b1e0d045cade5c', 1, 1, 1, NULL, 'dag', 'run', 'not_found', -1, 'winsms_default', '27825550067', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', '2026-10-06 15:00:00+00', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('57ffa5e6a60ccf40dc2a064fb018e8e3', 1, 1, 0, '1000033', 'dag', 'run', 'unpaid', -1, 'winsms_default', '27825550050', NULL, 'phone', 'accepted', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:15.676759+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('57ffa5e6a60ccf40dc2a064fb018e8e3', 1, 1, 1, NULL, 'dag', 'run', 'unpaid', -1, 'winsms_default', '27825550051', NULL, 'phone', 'declined', 'no_credits', 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:15.676759+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('57ffa5e6a60ccf40dc2a064fb018e8e3', 1, 1, 2, NULL, 'dag', 'run', 'unpaid', -1, 'winsms_default', '27825550052', NULL, 'phone', 'declined', 'no_credits', 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:15.676759+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('57ffa5e6a60ccf40dc2a064fb018e8e3', 1, 1, 3, NULL, 'dag', 'run', 'unpaid', -1, 'winsms_default', '27825550053', NULL, 'phone', 'declined', 'no_credits', 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:15.676759+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('97cdaa01dbd14650617cd61ec38adcfe', 1, 1, 0, NULL, 'dag', 'run', 'resolved', -1, 'winsms_default', '27825550068', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('97cdaa01dbd14650617cd61ec38adcfe', 1, 1, 1, NULL, 'dag', 'run', 'resolved', -1, 'winsms_default', '27825550069', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('9c58e3db64edf2c676b964dcb425c46b', 1, 1, 0, '1000010', 'dag', 'run', 'resent', -1, 'winsms_default', '27825550024', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-05 06:00:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('9c58e3db64edf2c676b964dcb425c46b', 1, 1, 1, '1000011', 'dag', 'run', 'resent', -1, 'winsms_default', '27825550025', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-05 06:00:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('b0ffc96134665ad0cf476b47dd88e4a2', 1, 1, 0, '1000006', 'dag', 'run', 'declined', -1, 'winsms_default', '27825550005', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-05 06:00:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('b0ffc96134665ad0cf476b47dd88e4a2', 1, 1, 1, NULL, 'dag', 'run', 'declined', -1, 'winsms_default', '27000000006', NULL, 'phone', 'declined', 'opted_out', 0.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-06 06:00:10.550319+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('b9924969f94fd7d9a199a7f43f22262c', 1, 1, 0, '1000012', 'dag', 'run', 'resent', -1, 'winsms_default', '27825550024', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-05 06:01:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('b9924969f94fd7d9a199a7f43f22262c', 1, 1, 1, '1000013', 'dag', 'run', 'resent', -1, 'winsms_default', '27825550025', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-05 06:00:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('db8b6d80c048793d1cc1785a5d8dedaf', 1, 1, 0, '1000025', 'dag', 'run', 'kept', -1, 'winsms_default', '27825550035', NULL, 'phone', 'accepted', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:14.95969+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('db8b6d80c048793d1cc1785a5d8dedaf', 1, 1, 1, '1000026', 'dag', 'run', 'kept', -1, 'winsms_default', '27825550036', NULL, 'phone', 'accepted', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:14.95969+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('dc4a3e398239622ca307b390cef34bcc', 1, 1, 0, NULL, 'dag', 'run', 'at_least_once', -1, 'winsms_default', '27825550062', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('dc4a3e398239622ca307b390cef34bcc', 1, 1, 1, NULL, 'dag', 'run', 'at_least_once', -1, 'winsms_default', '27825550063', NULL, 'phone', 'unknown', NULL, 0.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('de7d65692e35c76e0d1bba7e71e4f48e', 1, 1, 0, '1000020', 'dag', 'run', 'accepted', -1, 'winsms_default', '27825550030', NULL, 'phone', 'accepted', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:14.576159+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('de7d65692e35c76e0d1bba7e71e4f48e', 1, 1, 1, '1000021', 'dag', 'run', 'accepted', -1, 'winsms_default', '27825550031', NULL, 'phone', 'accepted', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:14.576159+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('de7d65692e35c76e0d1bba7e71e4f48e', 1, 1, 2, '1000022', 'dag', 'run', 'accepted', -1, 'winsms_default', '27825550032', NULL, 'phone', 'accepted', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:14.576159+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('f23f0a39551f1562622957f4adc3e6a6', 1, 1, 0, '1000023', 'dag', 'run', 'hashed', -1, 'winsms_default', '38cf83feb0d9fb46f3728ad36e0fba6ca35e9724d71499372d23105337929c69', 'f1fc1cb0', 'phone', 'accepted', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:14.743375+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('f23f0a39551f1562622957f4adc3e6a6', 1, 1, 1, '1000024', 'dag', 'run', 'hashed', -1, 'winsms_default', '7f72ae392d659aed841181d8d81603fa4091e265d39f2373f16a9e9479c5a552', 'f1fc1cb0', 'phone', 'accepted', NULL, 1.0000, 0.0000, 'credits', '2026-10-06 06:00:00+00', NULL, '2026-10-06 06:00:14.743375+00', NULL, '2026-10-06 06:00:00+00', 'run'),
('f6bea3fdd2363b1559ea3f1331857535', 1, 1, 0, '1000001', 'dag', 'run', 'delivered', -1, 'winsms_default', '27000000010', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-05 06:00:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('f6bea3fdd2363b1559ea3f1331857535', 1, 1, 1, '1000002', 'dag', 'run', 'delivered', -1, 'winsms_default', '27825550000', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-05 06:00:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('f6bea3fdd2363b1559ea3f1331857535', 1, 1, 2, '1000003', 'dag', 'run', 'delivered', -1, 'winsms_default', '27825550001', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-05 06:01:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('f6bea3fdd2363b1559ea3f1331857535', 1, 1, 3, '1000004', 'dag', 'run', 'delivered', -1, 'winsms_default', '27825550002', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-05 06:01:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('f6bea3fdd2363b1559ea3f1331857535', 1, 1, 4, '1000005', 'dag', 'run', 'delivered', -1, 'winsms_default', '27825550003', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-05 06:00:00+00', NULL, '2026-10-05 07:00:00+00', 'run'),
('fc54e887a8c30ced3f14053afd8cf7b6', 1, 1, 0, '1000008', 'dag', 'run', 'send', -1, 'winsms_default', '27825550010', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-05 06:00:00+00', 'customer 1', '2026-10-05 07:00:00+00', 'run'),
('fc54e887a8c30ced3f14053afd8cf7b6', 1, 1, 1, '1000009', 'dag', 'run', 'send', -1, 'winsms_default', '27825550011', NULL, 'phone', 'delivered', NULL, 1.0000, 0.0000, 'credits', '2026-10-05 06:00:00+00', NULL, '2026-10-05 06:01:00+00', 'customer 2', '2026-10-05 07:00:00+00', 'run');

CREATE OR REPLACE VIEW "sms_delivery_by_day" AS SELECT CAST(MAKE_TIMESTAMP(EPOCH_US(submitted_at)) AS DATE) AS day, dag_id, COUNT(*) AS accepted,
    SUM(CASE WHEN state = 'delivered' THEN 1 ELSE 0 END) AS delivered, SUM(CASE WHEN state IN ('failed', 'not_sent') THEN 1 ELSE 0 END) AS failed, COUNT(*) - SUM(CASE WHEN state = 'delivered' THEN 1 ELSE 0 END) - SUM(CASE WHEN state IN ('failed', 'not_sent') THEN 1 ELSE 0 END) AS still_open,
    ROUND(SUM(CASE WHEN state = 'delivered' THEN 1 ELSE 0 END) * 1.0 / COUNT(*), 4) AS rate
FROM "deliveries" WHERE state IN ('accepted', 'scheduled', 'cancelling', 'queued', 'sent', 'delivered', 'failed', 'not_sent', 'not_found') GROUP BY CAST(MAKE_TIMESTAMP(EPOCH_US(submitted_at)) AS DATE), dag_id;

CREATE OR REPLACE VIEW "sms_delivery_time_by_day" AS WITH arrivals AS (SELECT CAST(MAKE_TIMESTAMP(EPOCH_US(submitted_at)) AS DATE) AS day, dag_id,
        CASE WHEN ((EPOCH_US(state_at) - EPOCH_US(COALESCE(send_at, submitted_at))) / 1000000.0) < 0 THEN 0 ELSE ((EPOCH_US(state_at) - EPOCH_US(COALESCE(send_at, submitted_at))) / 1000000.0) END AS late
    FROM "deliveries" WHERE state = 'delivered'),
ranked_arrivals AS (SELECT day, dag_id, late,
        ROW_NUMBER() OVER (PARTITION BY day, dag_id ORDER BY late) AS nth,
        COUNT(*) OVER (PARTITION BY day, dag_id) AS total
    FROM arrivals)
SELECT day, dag_id, COUNT(*) AS delivered, ROUND(AVG(late), 1) AS avg_seconds,
    ROUND(MIN(CASE WHEN nth * 100 >= total * 50 THEN late END), 1) AS median_seconds,
    ROUND(MIN(CASE WHEN nth * 100 >= total * 95 THEN late END), 1) AS p95_seconds,
    ROUND(MAX(late), 1) AS max_seconds
FROM ranked_arrivals GROUP BY day, dag_id;

CREATE OR REPLACE VIEW "sms_cost_by_day" AS SELECT CAST(MAKE_TIMESTAMP(EPOCH_US(submitted_at)) AS DATE) AS day, dag_id, COUNT(*) AS texts, currency,
    ROUND(SUM(cost), 4) AS cost, ROUND(SUM(refund), 4) AS refund, ROUND(SUM(cost - refund), 4) AS net_cost,
    SUM(CASE WHEN state = 'delivered' THEN 1 ELSE 0 END) AS delivered,
    ROUND(SUM(cost - refund) * 1.0 / NULLIF(SUM(CASE WHEN state = 'delivered' THEN 1 ELSE 0 END), 0), 4) AS cost_per_delivered
FROM "deliveries" WHERE state IN ('accepted', 'scheduled', 'cancelling', 'queued', 'sent', 'delivered', 'failed', 'not_sent', 'not_found', 'cancelled') GROUP BY CAST(MAKE_TIMESTAMP(EPOCH_US(submitted_at)) AS DATE), dag_id, currency;

CREATE OR REPLACE VIEW "sms_replies_by_campaign" AS WITH texts AS (SELECT dag_id, run_id, task_id, message_id, number, COALESCE(number_key_id, '') AS key_id, COALESCE(send_at, submitted_at) AS left_at,
        LEAD(COALESCE(send_at, submitted_at)) OVER (PARTITION BY number, COALESCE(number_key_id, '') ORDER BY COALESCE(send_at, submitted_at), COALESCE(LENGTH(message_id), 0), message_id, batch_id) AS next_at,
        ROW_NUMBER() OVER (PARTITION BY dag_id, run_id, task_id, number, COALESCE(number_key_id, '') ORDER BY COALESCE(send_at, submitted_at), COALESCE(LENGTH(message_id), 0), message_id, batch_id) AS nth
    FROM "deliveries" WHERE state IN ('accepted', 'scheduled', 'cancelling', 'queued', 'sent', 'delivered', 'failed', 'not_sent', 'not_found')),
ids AS (SELECT message_id, dag_id, run_id, task_id FROM (
        SELECT message_id, dag_id, run_id, task_id,
            ROW_NUMBER() OVER (PARTITION BY message_id ORDER BY COALESCE(send_at, submitted_at), COALESCE(LENGTH(message_id), 0), message_id, batch_id) AS nth
        FROM "deliveries" WHERE message_id IS NOT NULL) AS numbered WHERE nth = 1),
replies AS (SELECT COALESCE(m.dag_id, t.dag_id) AS dag_id, COALESCE(m.run_id, t.run_id) AS run_id,
        COALESCE(m.task_id, t.task_id) AS task_id, i.number, COALESCE(i.number_key_id, '') AS key_id,
        CASE WHEN m.message_id IS NULL THEN 0 ELSE 1 END AS by_id
    FROM "incoming" i LEFT JOIN ids m ON m.message_id = i.in_reply_to
    LEFT JOIN texts t ON m.message_id IS NULL AND t.number = i.number
        AND t.key_id = COALESCE(i.number_key_id, '') AND ((EPOCH_US(i.received_at) - EPOCH_US(t.left_at)) / 1000000.0) > -60 AND (t.next_at IS NULL OR ((EPOCH_US(i.received_at) - EPOCH_US(t.next_at)) / 1000000.0) <= -60)),
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

CREATE OR REPLACE VIEW "sms_opt_outs_by_campaign" AS WITH texts AS (SELECT dag_id, run_id, task_id, message_id, number, COALESCE(number_key_id, '') AS key_id, COALESCE(send_at, submitted_at) AS left_at,
        LEAD(COALESCE(send_at, submitted_at)) OVER (PARTITION BY number, COALESCE(number_key_id, '') ORDER BY COALESCE(send_at, submitted_at), COALESCE(LENGTH(message_id), 0), message_id, batch_id) AS next_at,
        ROW_NUMBER() OVER (PARTITION BY dag_id, run_id, task_id, number, COALESCE(number_key_id, '') ORDER BY COALESCE(send_at, submitted_at), COALESCE(LENGTH(message_id), 0), message_id, batch_id) AS nth
    FROM "deliveries" WHERE state IN ('accepted', 'scheduled', 'cancelling', 'queued', 'sent', 'delivered', 'failed', 'not_sent', 'not_found')),
listed AS (SELECT number, COALESCE(number_key_id, '') AS key_id, opted_out_at, first_seen_at, last_seen_at, removed_at
        FROM "opt_outs_history"
    UNION ALL SELECT c.number, COALESCE(c.number_key_id, ''), c.opted_out_at, c.first_seen_at,
        c.last_seen_at, c.removed_at
    FROM "opt_outs" c WHERE NOT EXISTS (SELECT 1 FROM "opt_outs_history" h
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
        AND ((EPOCH_US(a.opted_out_at) - EPOCH_US(t.left_at)) / 1000000.0) > -60 AND (t.next_at IS NULL OR ((EPOCH_US(a.opted_out_at) - EPOCH_US(t.next_at)) / 1000000.0) <= -60)) AS events
GROUP BY dag_id, run_id, task_id;

CREATE OR REPLACE VIEW "sms_texts_after_opt_out" AS WITH listed AS (SELECT number, COALESCE(number_key_id, '') AS key_id, opted_out_at, first_seen_at, last_seen_at, removed_at
        FROM "opt_outs_history"
    UNION ALL SELECT c.number, COALESCE(c.number_key_id, ''), c.opted_out_at, c.first_seen_at,
        c.last_seen_at, c.removed_at
    FROM "opt_outs" c WHERE NOT EXISTS (SELECT 1 FROM "opt_outs_history" h
        WHERE h.number = c.number AND COALESCE(h.number_key_id, '') = COALESCE(c.number_key_id, ''))),
periods AS (SELECT number, key_id, last_seen_at, removed_at,
        COALESCE(opted_out_at, first_seen_at) AS began,
        LEAD(COALESCE(opted_out_at, first_seen_at)) OVER (PARTITION BY number, key_id
            ORDER BY COALESCE(opted_out_at, first_seen_at), first_seen_at) AS next_began
    FROM listed),
late_texts AS (SELECT d.dag_id, d.state, d.reason, ((EPOCH_US(COALESCE(send_at, submitted_at)) - EPOCH_US(s.began)) / 1000000.0) AS since,
        CASE WHEN s.removed_at IS NULL OR ((EPOCH_US(COALESCE(send_at, submitted_at)) - EPOCH_US(s.last_seen_at)) / 1000000.0) <= 0 THEN 1 ELSE 0 END
            AS was_listed
    FROM "deliveries" d INNER JOIN periods s ON s.number = d.number
        AND s.key_id = COALESCE(d.number_key_id, '') AND ((EPOCH_US(COALESCE(send_at, submitted_at)) - EPOCH_US(s.began)) / 1000000.0) >= 60
        AND (s.next_began IS NULL OR ((EPOCH_US(COALESCE(send_at, submitted_at)) - EPOCH_US(s.next_began)) / 1000000.0) < 60)
        AND (s.removed_at IS NULL OR ((EPOCH_US(COALESCE(send_at, submitted_at)) - EPOCH_US(s.removed_at)) / 1000000.0) < 0)),
judged AS (SELECT dag_id, since,
        CASE WHEN state IN ('accepted', 'queued', 'sent', 'delivered', 'failed') AND was_listed = 1 THEN 1 ELSE 0 END AS sent,
        CASE WHEN state IN ('unknown', 'scheduled', 'cancelling', 'not_found') OR (state IN ('accepted', 'queued', 'sent', 'delivered', 'failed') AND was_listed = 0)
            THEN 1 ELSE 0 END AS in_doubt,
        CASE WHEN state = 'not_sent' OR (state = 'declined' AND reason = 'opted_out') THEN 1 ELSE 0 END
            AS stopped
    FROM late_texts)
SELECT CAST(FLOOR(since / 86400) AS INTEGER) AS days_since, dag_id, SUM(sent) AS sent, SUM(in_doubt) AS in_doubt,
    SUM(stopped) AS stopped
FROM judged WHERE sent + in_doubt + stopped > 0 GROUP BY CAST(FLOOR(since / 86400) AS INTEGER), dag_id;

CREATE OR REPLACE VIEW "sms_opt_out_check" AS WITH listed AS (SELECT number, COALESCE(number_key_id, '') AS key_id, opted_out_at, first_seen_at, last_seen_at, removed_at
        FROM "opt_outs_history"
    UNION ALL SELECT c.number, COALESCE(c.number_key_id, ''), c.opted_out_at, c.first_seen_at,
        c.last_seen_at, c.removed_at
    FROM "opt_outs" c WHERE NOT EXISTS (SELECT 1 FROM "opt_outs_history" h
        WHERE h.number = c.number AND COALESCE(h.number_key_id, '') = COALESCE(c.number_key_id, ''))),
periods AS (SELECT number, key_id, last_seen_at, removed_at,
        COALESCE(opted_out_at, first_seen_at) AS began,
        LEAD(COALESCE(opted_out_at, first_seen_at)) OVER (PARTITION BY number, key_id
            ORDER BY COALESCE(opted_out_at, first_seen_at), first_seen_at) AS next_began
    FROM listed),
late_texts AS (SELECT d.dag_id, d.state, d.reason, ((EPOCH_US(COALESCE(send_at, submitted_at)) - EPOCH_US(s.began)) / 1000000.0) AS since,
        CASE WHEN s.removed_at IS NULL OR ((EPOCH_US(COALESCE(send_at, submitted_at)) - EPOCH_US(s.last_seen_at)) / 1000000.0) <= 0 THEN 1 ELSE 0 END
            AS was_listed
    FROM "deliveries" d INNER JOIN periods s ON s.number = d.number
        AND s.key_id = COALESCE(d.number_key_id, '') AND ((EPOCH_US(COALESCE(send_at, submitted_at)) - EPOCH_US(s.began)) / 1000000.0) >= 60
        AND (s.next_began IS NULL OR ((EPOCH_US(COALESCE(send_at, submitted_at)) - EPOCH_US(s.next_began)) / 1000000.0) < 60)
        AND (s.removed_at IS NULL OR ((EPOCH_US(COALESCE(send_at, submitted_at)) - EPOCH_US(s.removed_at)) / 1000000.0) < 0)),
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

