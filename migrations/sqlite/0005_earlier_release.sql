-- The newest release of the boot before that of release_boot. A release of a new boot comes before the service knows that
-- boot; a claim of the old one that is on its way until then must still find that its own release was served.
alter table attachment add column earlier_release_boot text;
alter table attachment add column earlier_release_issued integer;
