-- What the extension consists of: frozen from 0.1.0 on, so a change here needs a version script.
SELECT p.oid::regprocedure AS function, p.provolatile AS volatility, p.proparallel AS parallel,
       p.proisstrict AS strict, p.procost AS cost, p.prosupport <> 0 AS support
  FROM pg_proc p
  JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'polyko'
 ORDER BY p.proname COLLATE "C";

SELECT c.relname, c.relkind, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod)
  FROM pg_class c
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
 WHERE c.relname LIKE 'polyko%' AND c.relkind IN ('v', 'c')
 ORDER BY c.relname COLLATE "C", a.attnum;

-- Every object says what it is (but for arrays and rows of views, members of their own from 16 on).
SELECT pg_describe_object(d.classid, d.objid, 0) AS "no comment"
  FROM pg_depend d
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'polyko'
 WHERE d.deptype = 'e' AND obj_description(d.objid, d.classid::regclass::name) IS NULL
   AND NOT EXISTS (SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
                    WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid
                      AND (t.typelem <> 0 OR c.relkind IN ('v', 'r')));

-- Administration is not for everybody.
SELECT p.oid::regprocedure AS "not for everybody"
  FROM pg_proc p
 WHERE p.proname LIKE 'polyko%' AND NOT has_function_privilege('pg_monitor', p.oid, 'EXECUTE')
 ORDER BY p.proname COLLATE "C";
