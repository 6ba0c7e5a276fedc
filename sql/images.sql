-- The image of the default model: built once, listed, verified, kept.
SELECT polyko_load_model('polyko_tiny');
SELECT file ~ '^pgsql_tmp_polyko_[0-9a-f]{32}-q8-[0-9]+\.img$' AS name_is_skipped_by_backups,
       bytes > 10000000 AS has_weights, checkpoint LIKE '%/extension/polyko-tiny' AS from_sharedir
  FROM polyko_images WHERE quantization = 'q8';
SELECT polyko_verify_model('polyko_tiny');
SELECT polyko_load_model(NULL);
SELECT polyko_verify_model('nobody');

-- what is in use stays
SELECT count(*) AS n FROM polyko_images \gset
SELECT polyko_prune_images() >= 0 AS pruned;
SELECT count(*) = :n AS all_kept FROM polyko_images;
SELECT polyko_token_count('안녕') > 0 AS still_answers;
