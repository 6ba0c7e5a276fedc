#!/usr/bin/env python3
"""Make test/golden/tokenizer: small tokenizer.json files and what Hugging Face tokenizers makes of
texts with them. Needs the Python package tokenizers (0.23.1 was used). Run from the repository root:

    python3 test/tools/mk_tokenizer_golden.py

texts.txt has the texts in hexadecimal UTF-8. golden.tsv has one line a case: the tokenizer's name;
the number of the text; what decoding all ids gives, "=" for the text; the same without special
tokens, "=" for the column before; ids, "=" for those of the tokenizer "plain"; offsets of each token as start-end in bytes of the text, "-"
where they are not compared. Offsets are compared when the text is in the normal form already;
elsewhere ours cover what was composed, and those of tokenizers don't. Decoded texts have U+FFFD for
byte 0, as polyko writes it.
"""
import json
import os
import random
import unicodedata

from tokenizers import Tokenizer

OUT = "test/golden/tokenizer"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
GPT4 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def letters():
    """The byte alphabet: letter of each byte."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, n = {}, 0
    for byte in range(256):
        table[byte] = chr(byte) if byte in keep else chr(256 + n)
        n += byte not in keep
    return table


LETTER = letters()


def spell(text):
    return "".join(LETTER[b] for b in text.encode())


def learn(words, n_merges):
    """Plain BPE over spelled words, ties by spelling: merges in order."""
    words = [(list(w), c) for w, c in words]
    merges = []
    for _ in range(n_merges):
        pairs = {}
        for w, c in words:
            for pair in zip(w, w[1:]):
                pairs[pair] = pairs.get(pair, 0) + c
        if not pairs:
            break
        best = max(pairs, key=lambda p: (pairs[p], p))
        merges.append(best)
        for w, _ in words:
            i = 0
            while i + 1 < len(w):
                if (w[i], w[i + 1]) == best:
                    w[i:i + 2] = [w[i] + w[i + 1]]
                i += 1
    return merges


WORDS = ("영화 정말 재미있다 한국 한글 이것은 테스트 이다 the and ing hello don't 2024 1234 ... !! ㅋㅋㅋ ㅠㅠ "
         "café naïve 한 국 다 는 이 가").split()


def byte_model():
    merges = learn([(spell(w), 3) for w in WORDS] + [(spell(" " + w), 2) for w in WORDS], 140)
    vocab = {}
    for byte in sorted(LETTER, key=lambda b: LETTER[b]):
        vocab[LETTER[byte]] = len(vocab)
    for a, b in merges:
        vocab.setdefault(a + b, len(vocab))
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": False, "vocab": vocab, "merges": [list(m) for m in merges]}


def char_model(**options):
    """Characters, not bytes: with unknown tokens or byte fallback."""
    merges = learn([(w, 3) for w in WORDS], 60)
    vocab = {"<unk>": 0}
    if options.get("byte_fallback"):
        for byte in range(256):
            vocab["<0x%02X>" % byte] = len(vocab)
    for c in sorted(set("".join(WORDS)) | set(" abcdefg.0123456789")):
        vocab.setdefault(c, len(vocab))
    for a, b in merges:
        vocab.setdefault(a + b, len(vocab))
    model = byte_model()
    model.update(vocab=vocab, merges=[list(m) for m in merges], unk_token="<unk>")
    model.update(options)
    return model


def added(model, *tokens):
    """(content, flags) in order; flags of s(pecial) w(ord) l(strip) r(strip) n(ormalized)."""
    out, last = [], len(model["vocab"])
    for content, flags in tokens:
        if content in model["vocab"]:
            token_id = model["vocab"][content]
        else:
            token_id, last = last, last + 1
        out.append({"id": token_id, "content": content, "single_word": "w" in flags,
                    "lstrip": "l" in flags, "rstrip": "r" in flags, "normalized": "n" in flags,
                    "special": "s" in flags})
    return out


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
END = ("<|endoftext|>", "s")


def build(model=None, tokens=(END,), normalizer=None, pre=BYTE_LEVEL, post=None, decoder=BYTE_LEVEL):
    model = model or byte_model()
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": added(model, *tokens), "normalizer": normalizer, "pre_tokenizer": pre,
            "post_processor": post, "decoder": decoder, "model": model}


def split(pattern, behavior, invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def template(single, **ids):
    pieces = [{"Sequence": {"id": "A", "type_id": 0}} if s == "A" else
              {"SpecialToken": {"id": s, "type_id": 0}} for s in single]
    return {"type": "TemplateProcessing", "single": pieces, "pair": pieces + [
        {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {s: {"id": s, "ids": i, "tokens": [s] * len(i)} for s, i in ids.items()}}


def strings(model):
    """The older spelling of merges."""
    return dict(model, merges=["%s %s" % tuple(m) for m in model["merges"]])


def tokenizers():
    plain = dict(BYTE_LEVEL, use_regex=False)
    prefix = dict(BYTE_LEVEL, add_prefix_space=True)
    no_regex_prefix = dict(prefix, use_regex=False)
    digits = {"type": "Digits", "individual_digits": True}
    runs = {"type": "Digits", "individual_digits": False}
    wild = (END, ("<s>", "sl"), ("</s>", "sr"), ("<both>", "slr"), ("word", "w"), ("Word", "wn"),
            ("한글", "n"), ("한글날", "n"), ("\u1112\u1161\u11ab", "n"), ("ab", ""), ("abc", ""),
            ("bcd", ""), (" x", ""), ("café", "n"), ("e\u0301", ""), ("﷼", "wn"))
    n = len(byte_model()["vocab"])
    char_decoder = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}
    partial = char_model(byte_fallback=True)
    out = {
        "plain": build(),
        "strings": build(strings(byte_model())),
        "added": build(tokens=wild),
        "added-nfc": build(tokens=wild, normalizer={"type": "NFC"}),
        "added-nfkd": build(tokens=wild, normalizer={"type": "NFKD"}),
        "prefix": build(tokens=wild, pre=prefix),
        "noregex": build(pre=plain),
        "noregex-prefix": build(pre=no_regex_prefix),
        "digits": build(pre=sequence(digits, BYTE_LEVEL)),
        "digit-runs": build(pre=sequence(runs, prefix)),
        "gpt4": build(pre=sequence(split({"Regex": GPT4}, "Isolated"), plain)),
        "gpt4-removed": build(pre=sequence(split({"Regex": GPT4}, "Removed", True), plain)),
        "qwen": build(normalizer={"type": "NFC"},
                      pre=sequence(split({"Regex": QWEN}, "Isolated"), plain)),
        "gpt2-split": build(pre=sequence(split({"Regex": GPT2}, "Isolated"), plain)),
        "sets": build(pre=sequence(split({"Regex": r"[가-힣]{2,3}?|(?<=\d)[^\S\n]+|(?i:[k-s]x?)++|[\p{Han}\p{Hiragana}-]+"},
                                         "Isolated"), plain)),
        "empty-matches": build(pre=sequence(split({"Regex": r"x*"}, "Isolated"), plain)),
        "template": build(post=template(["<|endoftext|>", "A", "<s>"], **{"<|endoftext|>": [n], "<s>": [1, 2]}),
                          tokens=(END,)),
        "post": build(post=dict(BYTE_LEVEL, trim_offsets=False)),
        "ignore-merges": build(dict(byte_model(), ignore_merges=True, vocab=dict(
            byte_model()["vocab"], **{spell("영화관"): n, spell(" 하늘"): n + 1}))),
        "no-decoder": build(decoder=None),
        "no-pre": build(char_model(), pre=None, decoder={"type": "Fuse"}),
        "unk": build(char_model(), pre=split({"String": " "}, "Isolated"), decoder={"type": "Fuse"}),
        "fuse-unk": build(char_model(fuse_unk=True), pre=split({"String": " "}, "Isolated"),
                          decoder={"type": "Fuse"}),
        "dropped": build(char_model(unk_token=None), pre=None, decoder={"type": "Fuse"}),
        "fallback": build(partial, pre=None, decoder=char_decoder),
        "sequence-norm": build(normalizer={"type": "Sequence", "normalizers": [
            {"type": "NFKD"}, {"type": "NFC"}]}),
    }
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        out[form.lower()] = build(normalizer={"type": form})
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            name = "split-%s%s" % (behavior.lower(), "-invert" if invert else "")
            out[name] = build(pre=sequence(split({"String": ".."}, behavior, invert), plain))
            out[name + "-regex"] = build(pre=sequence(split({"Regex": r"\s|\p{N}"}, behavior, invert), plain))
    return out


TEXTS = r"""
이 영화는 정말 재미있다.¦한국 한글 한글날 이것은 테스트 이다.¦Hello, the word and  words! Word Words¦don't I'll we've you're 'S 's ''s it’s
ㅋㅋㅋㅋ ㅠㅠ...!!  2024년 12월 3일 1234567890¦a1b22c333 ½ Ⅳ ²³ ٣٤ １２¦<|endoftext|>  <|endoftext|>x<|endoftext|>
  <s>  a </s>  b <both>  c<s></s>¦ab abc abcd bcd abbcd x  x¦한글날 한글 한 café cafe\u0301 e\u0301¦Café naïve
\u1112\u1161\u11ab\u1100\u1173\u11af¦\u1112\u1161\u11ab word¦각\u11a8\u1161¦\u1112\u1161\u11ab\u1112\u1161\u11ab \u1100¦a\u0301\u0316\u0327b\u0323\u0307¦\u0301\u0316 a¦\u212b \u2126 \ufb01 \u3392 \uff21\uff11 \u1e9b\u0323
👨‍👩‍👧‍👦 👍🏽🏳️‍🌈 🇰🇷 ❤️¦日本語 漢字 ひらがな カタカナ 一二三¦\t\n\r\x0b\x0c\x1c\x1d\x85\xa0\u1680\u2003\u200b\u2028\u202f\u3000\ufeff x¦a \n b\n\n  c   ¦   ¦\n
\x00 a\x00b \x01\x7f\x80¦\u0378\u05ff \U0002fffe \U0010ffff \ue000 \U000e0001¦\u2ebf0 \U0002ebf0 \U00010d40\U00010d4a \U0001ccf0 \u1c89 \U000113c5¦\u1acf\u0301\u0316\u1ac1 \u0897
ſK KELVIN \u212a sx KX 's 'ſ 'S¦x..y....z..¦..¦....a¦...¦1 2  3a 4¦xxaxx¦x¦ßẞ ǆ¦..a. . b¦12..34 ..¦word¦word,Word word_ 한word¦﷼ a﷼ ﷼,
 하늘 영화관 하늘¦0123456789012345678901234567890123456789012345678901234567890123456789¦aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
영화영화영화영화영화영화영화영화영화영화영화영화영화영화영화정말정말정말정말정말 영화¦abc<unk>def <0x41> \u00e9\u00ff¦zzz 한 @@ #¦ӿϿ ﷽ ḍ̇ q̣̇ ְֱֲ
"""


def texts():
    """TEXTS without its escapes: texts are separated by a broken bar or a new line."""
    out = [""] + [t for line in TEXTS.strip("\n").split("\n") for t in line.split("¦")]
    out += ["<|endoftext|", " <|endoftext|>\\n", " ", "\\0"]
    escaped = [t.encode("unicode_escape").replace(b"\\\\", b"\\") for t in out]
    return list(dict.fromkeys(e.decode("unicode_escape") for e in escaped))


def random_texts(rng, n):
    pools = [lambda: chr(rng.randrange(0xAC00, 0xD7A4)), lambda: chr(rng.randrange(0x1100, 0x1200)),
             lambda: chr(rng.randrange(0x300, 0x370)), lambda: chr(rng.randrange(32, 127)),
             lambda: rng.choice(" \t\n\u3000.1x'"), lambda: chr(rng.randrange(0x10000, 0x20000)),
             lambda: chr(rng.randrange(0x80, 0xD800)), lambda: rng.choice(WORDS)]
    return ["".join(rng.choice(pools)() for _ in range(rng.randrange(1, 16))) for _ in range(n)]


def normal_form(text, tokenizer):
    norm = tokenizer.normalizer
    return norm is None or norm.normalize_str(text) == text


def line(name, tokenizer, number, text, compare_offsets, plain):
    enc = tokenizer.encode(text)
    starts = [0]
    for c in text:
        starts.append(starts[-1] + len(c.encode()))
    offsets = ",".join("%d-%d" % (starts[a], starts[b]) for a, b in enc.offsets)
    decoded = [tokenizer.decode(enc.ids, skip_special_tokens=skip).replace("\0", "\ufffd").encode().hex()
               for skip in (False, True)]
    if not compare_offsets or not normal_form(text, tokenizer):
        offsets = "-"
    return "\t".join([name, str(number),
                      "=" if decoded[0] == text.encode().hex() else decoded[0],
                      "=" if decoded[1] == decoded[0] else decoded[1],
                      "=" if plain.get(number) == enc.ids else ",".join(map(str, enc.ids)), offsets])


def main():
    os.makedirs(OUT, exist_ok=True)
    rng = random.Random(20240607)
    lines, files, plain = [], {}, {}
    # not for those where offsets differ on purpose: stripped spaces, template tokens, dropped
    # characters, prefix spaces
    with_offsets = {"plain", "nfc", "digits", "fallback", "split-removed"}
    common = texts() + random_texts(rng, 3)
    more = random_texts(rng, 100)
    for name, spec in tokenizers().items():
        tokenizer = Tokenizer.from_str(json.dumps(spec))
        files[name] = spec
        for number, text in enumerate(common):
            lines.append(line(name, tokenizer, number, text, name in with_offsets, plain))
        if name == "plain":
            plain = {number: tokenizer.encode(text).ids for number, text in enumerate(common)}
    tokenizer = Tokenizer.from_file("models/polyko-tiny/tokenizer.json")
    for number, text in enumerate(common + more):
        lines.append(line("polyko-tiny", tokenizer, number, text, True, {}))
    # one file: models are shared, so each is written once and named
    models, table = [], {}
    for name, spec in files.items():
        model = spec.pop("model")
        if model not in models:
            models.append(model)
        table[name] = dict(spec, model=models.index(model))
    with open(OUT + "/tokenizers.json", "w", encoding="ascii") as f:
        f.write('{"models": [\n%s],\n"tokenizers": {\n%s}}\n' % (
            ",\n".join(json.dumps(m, separators=(",", ":")) for m in models),
            ",\n".join('"%s": %s' % (n, json.dumps(t, separators=(",", ":"))) for n, t in table.items())))
    with open(OUT + "/golden.tsv", "w", encoding="ascii") as f:
        f.write("\n".join(lines) + "\n")
    with open(OUT + "/texts.txt", "w", encoding="ascii") as f:
        f.write("".join(t.encode().hex() + "\n" for t in common + more))
    print(len(lines), "lines", sum(len(x) + 1 for x in lines), "bytes")


if __name__ == "__main__":
    main()
