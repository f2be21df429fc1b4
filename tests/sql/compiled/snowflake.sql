-- create the table
CREATE TABLE IF NOT EXISTS "replies" (
"message_id" VARCHAR(64) NOT NULL,
"refund" NUMERIC(14, 4),
"first_seen_at" TIMESTAMP WITH TIME ZONE NOT NULL,
"last_seen_at" TIMESTAMP WITH TIME ZONE NOT NULL,
"removed_at" TIMESTAMP WITH TIME ZONE,
"loaded_at" TIMESTAMP WITH TIME ZONE NOT NULL,
"load_run_id" VARCHAR(250),
PRIMARY KEY ("message_id")
)
;

-- add a column
ALTER TABLE "replies" ADD "refund" NUMERIC(14, 4)
;

-- stage rows
INSERT INTO "replies_staging" ("message_id", "refund") VALUES (%s, %s)
;

-- update changed rows
UPDATE "replies" SET "refund"="replies_staging"."refund", "first_seen_at"=coalesce("replies"."first_seen_at", "replies_staging"."first_seen_at"), "last_seen_at"="replies_staging"."last_seen_at", "removed_at"="replies_staging"."removed_at", "loaded_at"="replies_staging"."loaded_at", "load_run_id"="replies_staging"."load_run_id" FROM "replies_staging" WHERE "replies"."message_id" = "replies_staging"."message_id" AND ("replies"."refund" != "replies_staging"."refund" OR "replies"."refund" IS NULL AND "replies_staging"."refund" IS NOT NULL OR "replies"."refund" IS NOT NULL AND "replies_staging"."refund" IS NULL OR "replies"."removed_at" IS NOT NULL)
;

-- mark listed rows
UPDATE "replies" SET "last_seen_at"=%s WHERE "replies"."removed_at" IS NULL AND (EXISTS (SELECT *
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
UPDATE "replies" SET "removed_at"=%s, "loaded_at"=%s, "load_run_id"=%s WHERE "replies"."removed_at" IS NULL AND ("replies"."last_seen_at" < %s OR "replies"."last_seen_at" IS NULL)
;

-- empty the staging table
DELETE FROM "replies_staging"
;
