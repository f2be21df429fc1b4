-- create the table
CREATE TABLE "replies" (
"message_id" VARCHAR2(64 CHAR) NOT NULL,
"refund" NUMERIC(14, 4),
"first_seen_at" TIMESTAMP WITH TIME ZONE NOT NULL,
"last_seen_at" TIMESTAMP WITH TIME ZONE NOT NULL,
"removed_at" TIMESTAMP WITH TIME ZONE,
"loaded_at" TIMESTAMP WITH TIME ZONE NOT NULL,
"load_run_id" VARCHAR2(250 CHAR),
PRIMARY KEY ("message_id")
)
;

-- add a column
ALTER TABLE "replies" ADD "refund" NUMERIC(14, 4)
;

-- stage rows
INSERT INTO "replies_staging" ("message_id", "refund") VALUES (:1, :2)
;

-- update changed rows
UPDATE "replies" SET "refund"=(SELECT max("replies_staging"."refund") AS max_1
FROM "replies_staging"
WHERE "replies"."message_id" = "replies_staging"."message_id"), "first_seen_at"=coalesce("replies"."first_seen_at", (SELECT max("replies_staging"."first_seen_at") AS max_2
FROM "replies_staging"
WHERE "replies"."message_id" = "replies_staging"."message_id")), "last_seen_at"=(SELECT max("replies_staging"."last_seen_at") AS max_3
FROM "replies_staging"
WHERE "replies"."message_id" = "replies_staging"."message_id"), "removed_at"=(SELECT max("replies_staging"."removed_at") AS max_4
FROM "replies_staging"
WHERE "replies"."message_id" = "replies_staging"."message_id"), "loaded_at"=(SELECT max("replies_staging"."loaded_at") AS max_5
FROM "replies_staging"
WHERE "replies"."message_id" = "replies_staging"."message_id"), "load_run_id"=(SELECT max("replies_staging"."load_run_id") AS max_6
FROM "replies_staging"
WHERE "replies"."message_id" = "replies_staging"."message_id") WHERE EXISTS (SELECT *
FROM "replies_staging"
WHERE "replies"."message_id" = "replies_staging"."message_id" AND ("replies"."refund" != "replies_staging"."refund" OR "replies"."refund" IS NULL AND "replies_staging"."refund" IS NOT NULL OR "replies"."refund" IS NOT NULL AND "replies_staging"."refund" IS NULL OR "replies"."removed_at" IS NOT NULL))
;

-- mark listed rows
UPDATE "replies" SET "last_seen_at"=:1 WHERE "replies"."removed_at" IS NULL AND (EXISTS (SELECT *
FROM "replies_staging"
WHERE "replies"."message_id" = "replies_staging"."message_id"))
;

-- insert new rows
INSERT INTO "replies" ("message_id", "refund", "first_seen_at", "last_seen_at", "removed_at", "loaded_at", "load_run_id") SELECT "replies_staging"."message_id", "replies_staging"."refund", "replies_staging"."first_seen_at", "replies_staging"."last_seen_at", "replies_staging"."removed_at", "replies_staging"."loaded_at", "replies_staging"."load_run_id"
FROM "replies_staging"
WHERE NOT (EXISTS (SELECT *
FROM "replies"
WHERE "replies"."message_id" = "replies_staging"."message_id"))
;

-- mark rows that are not listed
UPDATE "replies" SET "removed_at"=:1, "loaded_at"=:2, "load_run_id"=:3 WHERE "replies"."removed_at" IS NULL AND ("replies"."last_seen_at" < :4 OR "replies"."last_seen_at" IS NULL)
;

-- empty the staging table
DELETE FROM "replies_staging"
;
