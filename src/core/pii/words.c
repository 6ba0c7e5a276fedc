/*
 * words.c
 *    The table of words, and finding one.
 */
#include <pthread.h>

#include "core/pii/words.h"

#define CMS "KFTC, CMS account number systems, 2026-05"
#define LPN "libphonenumber, metadata of +82"
#define PRESIDIO "Microsoft Presidio, Korean recognizers"
#define NEWS "phone numbers in Korean news"
#define USE "Korean usage"
#define STATUTE "names of numbers in Korean statutes and forms"

#define PHONE PK_PII_W_PHONE
#define LOCAL (PK_PII_W_PHONE | PK_PII_W_LOCAL)
#define RRN PK_PII_W_RRN
#define CORP (PK_PII_W_CORP | PK_PII_W_KEEP)
#define ACCOUNT PK_PII_W_ACCOUNT
#define TRANSFER PK_PII_W_TRANSFER
#define BANK PK_PII_W_BANK
#define BARE PK_PII_W_BARE
#define KEEP PK_PII_W_KEEP
#define THING PK_PII_W_THING
#define UNIT PK_PII_W_UNIT

/* clang-format off */
const PkPiiWord pk_pii_words[] = {
	/* phones */
	{u"전화", LOCAL, NEWS}, {u"전화번호", LOCAL, NEWS}, {u"☎", LOCAL, NEWS}, {u"tel", LOCAL, NEWS},
	{u"telephone", LOCAL, USE}, {u"대표전화", LOCAL, USE}, {u"집전화", LOCAL, USE},
	{u"전화는", LOCAL, USE}, {u"전화번호는", LOCAL, USE},
	{u"팩스", LOCAL, NEWS}, {u"팩스번호", LOCAL, USE}, {u"fax", LOCAL, NEWS}, {u"연락처", PHONE, PRESIDIO},
	{u"연락", PHONE, USE}, {u"연락번호", PHONE, USE}, {u"연락처번호", PHONE, USE},
	{u"비상연락망", PHONE, USE}, {u"비상연락번호", PHONE, USE}, {u"비상번호", PHONE, USE},
	{u"휴대폰", PHONE, PRESIDIO}, {u"휴대폰번호", PHONE, PRESIDIO}, {u"휴대전화", PHONE, PRESIDIO},
	{u"휴대전화번호", PHONE, PRESIDIO}, {u"휴대번호", PHONE, USE}, {u"핸드폰", PHONE, PRESIDIO},
	{u"핸드폰번호", PHONE, PRESIDIO}, {u"핸폰", PHONE, USE}, {u"폰", PHONE, USE}, {u"폰번호", PHONE, USE},
	{u"폰번", PHONE, USE}, {u"전번", PHONE, USE}, {u"내번호", PHONE, USE}, {u"제번호", PHONE, USE},
	{u"mobile", PHONE, USE}, {u"phone", PHONE, USE}, {u"cell", PHONE, USE}, {u"hp", PHONE, USE},
	{u"phoneno", PHONE, USE}, {u"phonenum", PHONE, USE}, {u"phonenumber", PHONE, USE}, {u"telno", PHONE, USE},
	{u"mobileno", PHONE, USE}, {u"hpno", PHONE, USE},
	{u"님번호", PHONE, USE}, {u"담당자번호", PHONE, USE}, {u"집번호", PHONE, USE}, {u"회사번호", PHONE, USE},
	{u"사무실번호", PHONE, USE}, {u"매장번호", PHONE, USE}, {u"가게번호", PHONE, USE}, {u"직장번호", PHONE, USE},
	{u"대리운전", PHONE, USE}, {u"콜택시", PHONE, USE}, {u"h p", PHONE, USE}, {u"t", PHONE, USE}, {u"f", PHONE, USE},
	{u"예매", PHONE, USE}, {u"call", PHONE, USE}, {u"contact", PHONE, USE},
	{u"대표번호", PHONE, LPN}, {u"고객센터", PHONE, USE}, {u"콜센터", PHONE, USE}, {u"상담", PHONE, USE},
	{u"상담번호", PHONE, USE}, {u"문의", PHONE, USE}, {u"문의번호", PHONE, USE}, {u"문의처", PHONE, USE},
	{u"예약", PHONE, USE}, {u"신고", PHONE, USE}, {u"ars", PHONE, USE}, {u"수신거부", PHONE, USE},
	{u"무료거부", PHONE, USE}, {u"수신번호", PHONE, USE}, {u"발신번호", PHONE, USE}, {u"안심번호", PHONE, USE}, {u"직통", PHONE, USE},
	{u"직통번호", PHONE, USE}, {u"as센터", PHONE, USE},

	/* persons and corporations */
	{u"주민등록번호", RRN, STATUTE}, {u"주민번호", RRN, USE}, {u"주민등록", RRN, STATUTE}, {u"주민등록증", RRN, STATUTE},
	{u"외국인등록번호", RRN, STATUTE}, {u"외국인번호", RRN, USE}, {u"외국인등록", RRN, STATUTE},
	{u"외국인등록증", RRN, STATUTE}, {u"주민", RRN, USE}, {u"민증", RRN, USE}, {u"민증번호", RRN, USE},
	{u"국내거소신고번호", RRN, STATUTE}, {u"신분증", RRN, USE}, {u"신분증번호", RRN, USE}, {u"rrn", RRN, PRESIDIO}, {u"residentno", RRN, USE}, {u"juminno", RRN, USE}, {u"주민no", RRN, USE},
	{u"법인등록번호", CORP, STATUTE}, {u"법인번호", CORP, USE}, {u"법인등록", CORP, STATUTE},
	{u"법인등기번호", CORP, STATUTE}, {u"등기번호", CORP, STATUTE},

	/* accounts */
	{u"계좌", ACCOUNT, CMS}, {u"계좌번호", ACCOUNT, CMS}, {u"통장", ACCOUNT, USE}, {u"통장번호", ACCOUNT, USE},
	{u"가상계좌", ACCOUNT, CMS}, {u"평생계좌", ACCOUNT, CMS}, {u"평생번호", ACCOUNT, CMS}, {u"account", ACCOUNT, USE},
	{u"accountno", ACCOUNT, USE}, {u"accountnum", ACCOUNT, USE}, {u"accountnumber", ACCOUNT, USE},
	{u"acct", ACCOUNT, USE}, {u"acctno", ACCOUNT, USE}, {u"a/c", ACCOUNT, USE}, {u"계좌no", ACCOUNT, USE}, {u"입금번호", ACCOUNT, USE},
	{u"입금", TRANSFER, USE}, {u"송금", TRANSFER, USE}, {u"이체", TRANSFER, USE}, {u"예금주", TRANSFER, USE},
	{u"무통장", TRANSFER, USE}, {u"환불", TRANSFER, USE}, {u"환급", TRANSFER, USE}, {u"후원", TRANSFER, USE},
	{u"수취인", TRANSFER, USE}, {u"보내", TRANSFER, USE}, {u"부쳐", TRANSFER, USE}, {u"부치", TRANSFER, USE},
	{u"넣어", TRANSFER, USE}, {u"쏴", TRANSFER, USE}, {u"쏠게", TRANSFER, USE}, {u"회비", TRANSFER, USE},
	{u"월세", TRANSFER, USE}, {u"급여", TRANSFER, USE}, {u"부조", TRANSFER, USE}, {u"축의금", TRANSFER, USE},
	{u"조의금", TRANSFER, USE}, {u"부의금", TRANSFER, USE}, {u"기부", TRANSFER, USE}, {u"성금", TRANSFER, USE},

	/* banks */
	{u"은행", BANK, CMS}, {u"뱅크", BANK, CMS}, {u"농협", BANK, CMS}, {u"nh", BANK, CMS}, {u"kb", BANK, CMS},
	{u"ibk", BANK, CMS}, {u"keb", BANK, CMS}, {u"kdb", BANK, CMS}, {u"sc", BANK, CMS}, {u"sc제일", BANK, CMS},
	{u"mg", BANK, CMS}, {u"카뱅", BANK, USE}, {u"케뱅", BANK, USE}, {u"토뱅", BANK, USE}, {u"씨티", BANK, CMS},
	{u"우체국", BANK, CMS}, {u"새마을금고", BANK, CMS}, {u"새마을", BANK, CMS}, {u"수협", BANK, CMS}, {u"신협", BANK, CMS},
	{u"산림조합", BANK, CMS}, {u"증권", BANK, CMS}, {u"단위농협", BANK, CMS}, {u"축협", BANK, CMS},
	{u"kb국민", BANK, CMS}, {u"nh농협", BANK, CMS}, {u"ibk기업", BANK, CMS}, {u"bank", BANK, USE},
	{u"국민", BARE, CMS}, {u"신한", BARE, CMS}, {u"우리", BARE, CMS}, {u"하나", BARE, CMS}, {u"기업", BARE, CMS},
	{u"제일", BARE, CMS}, {u"토스", BARE, CMS}, {u"부산", BARE, CMS}, {u"대구", BARE, CMS}, {u"광주", BARE, CMS},
	{u"전북", BARE, CMS}, {u"경남", BARE, CMS}, {u"제주", BARE, CMS}, {u"산업", BARE, CMS}, {u"외환", BARE, CMS},
	{u"카카오", BARE, CMS},
	/* in which these are no banks */
	{u"우리나라", 0, USE}, {u"우리집", 0, USE}, {u"우리팀", 0, USE}, {u"우리동네", 0, USE}, {u"우리회사", 0, USE},
	{u"국민여러분", 0, USE}, {u"국민청원", 0, USE}, {u"국민신문고", 0, USE}, {u"하나씩", 0, USE}, {u"하나둘", 0, USE}, {u"하나로", 0, USE},
	{u"하나의", 0, USE}, {u"제일많이", 0, USE}, {u"제일큰", 0, USE}, {u"제일좋은", 0, USE}, {u"산업통계", 0, USE},
	{u"산업단지", 0, USE}, {u"토스트", 0, USE}, {u"중소기업", 0, USE}, {u"대기업", 0, USE},

	/* labels of other numbers */
	{u"번호", PK_PII_W_NUMBER, USE}, {u"개인번호", 0, USE}, {u"은행번호", BANK, USE},
	{u"등록번호", KEEP, USE}, {u"운송장", KEEP, USE}, {u"송장", KEEP, USE}, {u"쿠폰", KEEP, USE}, {u"티켓", KEEP, USE},
	{u"시리얼", KEEP, USE}, {u"s/n", KEEP, USE}, {u"sn", KEEP, USE}, {u"serial", KEEP, USE}, {u"바코드", KEEP, USE},
	{u"barcode", KEEP, USE}, {u"isbn", KEEP, USE}, {u"issn", KEEP, USE}, {u"doi", KEEP, USE}, {u"imei", KEEP, USE},
	{u"iccid", KEEP, USE}, {u"학번", KEEP | UNIT, USE}, {u"군번", KEEP, USE}, {u"사번", KEEP, USE}, {u"품번", KEEP, USE},
	{u"pnu", KEEP, USE}, {u"gtin", KEEP, USE}, {u"ean", KEEP, USE}, {u"코드", KEEP, USE}, {u"code", KEEP, USE},
	{u"timestamp", KEEP, USE}, {u"epoch", KEEP, USE}, {u"ts", KEEP, USE}, {u"타임스탬프", KEEP, USE},
	{u"버전", KEEP, USE}, {u"version", KEEP, USE}, {u"모델", KEEP, USE}, {u"model", KEEP, USE}, {u"otp", KEEP, USE},
	{u"고유부호", KEEP, USE}, {u"통관부호", KEEP, USE},
	{u"사업자등록번호", KEEP | PK_PII_W_BUSINESS, STATUTE}, {u"사업자번호", KEEP | PK_PII_W_BUSINESS, USE},
	{u"카드번호", KEEP | PK_PII_W_CARD, USE}, {u"여권번호", KEEP | PK_PII_W_PASSPORT, STATUTE},
	{u"passport", KEEP | PK_PII_W_PASSPORT, USE}, {u"면허번호", KEEP | PK_PII_W_DRIVER, STATUTE},
	{u"운전면허번호", KEEP | PK_PII_W_DRIVER, STATUTE},

	/* nouns that are labels right before a number, and else may be of something else */
	{u"주문", THING, USE}, {u"접수", THING, USE}, {u"승인", THING, USE}, {u"등기", THING, USE}, {u"이력", THING, USE},
	{u"일련", THING, USE}, {u"관리", THING, USE}, {u"문서", THING, USE}, {u"청구서", THING, USE},
	{u"견적서", THING, USE}, {u"공고", THING, USE}, {u"인증", THING, USE}, {u"수험", THING, USE}, {u"특허", THING, USE},
	{u"출원", THING, USE}, {u"사건", THING, USE}, {u"보험증", THING, USE}, {u"영수증", THING, USE}, {u"거래", THING, USE},
	{u"소포", THING, USE}, {u"계약", THING, USE}, {u"허가", THING, USE}, {u"통관", THING, USE}, {u"order", THING, USE},
	{u"tracking", THING, USE}, {u"invoice", THING, USE}, {u"time", THING, USE}, {u"국민연금", THING, USE},
	{u"국민건강보험", THING, USE}, {u"택배", THING | PHONE, USE},
	{u"사업자", THING | PK_PII_W_BUSINESS, USE}, {u"사업자등록", THING | PK_PII_W_BUSINESS, STATUTE},
	{u"카드", THING | PK_PII_W_CARD, USE}, {u"card", THING | PK_PII_W_CARD, USE},
	{u"신한카드", THING | PK_PII_W_CARD, USE}, {u"국민카드", THING | PK_PII_W_CARD, USE},
	{u"kb국민카드", THING | PK_PII_W_CARD, USE}, {u"우리카드", THING | PK_PII_W_CARD, USE},
	{u"하나카드", THING | PK_PII_W_CARD, USE}, {u"농협카드", THING | PK_PII_W_CARD, USE},
	{u"nh카드", THING | PK_PII_W_CARD, USE}, {u"여권", THING | PK_PII_W_PASSPORT, STATUTE},
	{u"면허", THING | PK_PII_W_DRIVER, STATUTE}, {u"운전면허", THING | PK_PII_W_DRIVER, STATUTE},
	{u"면허증", THING | PK_PII_W_DRIVER, STATUTE}, {u"운전면허증", THING | PK_PII_W_DRIVER, STATUTE},
	/* and of these they say nothing */
	{u"주문자", 0, USE}, {u"접수자", 0, USE}, {u"접수처", 0, USE}, {u"승인자", 0, USE}, {u"등기부", 0, USE},
	{u"관리자", 0, USE}, {u"관리인", 0, USE}, {u"관리비", 0, USE}, {u"인증자", 0, USE}, {u"출원인", 0, USE},
	{u"거래처", 0, USE}, {u"계약자", 0, USE}, {u"계약금", TRANSFER, USE}, {u"본인인증", 0, USE}, {u"성인인증", 0, USE},
	{u"실명인증", 0, USE},

	/* units, after a number */
	{u"원", UNIT, USE}, {u"회", UNIT, USE}, {u"건", UNIT, USE}, {u"명", UNIT, USE}, {u"개", UNIT, USE},
	{u"점", UNIT, USE}, {u"만", UNIT, USE}, {u"억", UNIT, USE}, {u"천", UNIT, USE}, {u"위", UNIT, USE}, {u"배", UNIT, USE},
	{u"장", UNIT, USE}, {u"권", UNIT, USE}, {u"호", UNIT, USE}, {u"쪽", UNIT, USE}, {u"년", UNIT, USE}, {u"초", UNIT, USE},
	{u"연중무휴", 0, USE}, {u"년중무휴", 0, USE}, {u"페이지", UNIT, USE}, {u"번지", UNIT, USE}, {u"%", UNIT, USE}, {u"m", UNIT, USE}, {u"km", UNIT, USE},
	{u"kg", UNIT, USE}, {u"mb", UNIT, USE}, {u"gb", UNIT, USE}, {u"바이트", UNIT, USE}, {u"달러", UNIT, USE},
	{u"엔", UNIT, USE}, {u"시즌", UNIT, USE}, {u"시", UNIT, USE}, {u"차", UNIT, USE},
	{u"ms", UNIT, USE},
};
/* clang-format on */

const size_t pk_pii_n_words = PK_LENGTH(pk_pii_words);

/* Rows by their last character: chains through `next`, made once. */
#define BUCKETS 256
static int16_t        heads[BUCKETS];
static int16_t        next[PK_LENGTH(pk_pii_words)];
static uint8_t        lengths[PK_LENGTH(pk_pii_words)];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static size_t
bucket_of(uint16_t code)
{
	return (code * 0x9e37u >> 4) % BUCKETS;
}

static void
build_index(void)
{
	for (size_t i = 0; i < BUCKETS; i++)
		heads[i] = -1;
	for (size_t i = 0; i < pk_pii_n_words; i++)
	{
		const char16_t *text = pk_pii_words[i].text;

		while (text[lengths[i]] != 0)
			lengths[i]++;

		size_t bucket = bucket_of((uint16_t) text[lengths[i] - 1]);

		next[i] = heads[bucket];
		heads[bucket] = (int16_t) i;
	}
}

static bool
is_latin(uint16_t code)
{
	return code >= 'a' && code <= 'z';
}

/* Latin words stand alone: "hotel" is no "tel". */
static bool
is_here(const uint16_t *chars, size_t n, size_t end, size_t row)
{
	const char16_t *text = pk_pii_words[row].text;
	size_t          len = lengths[row], start = end - len;

	for (size_t i = 0; i < len; i++)
		if (chars[start + i] != text[i])
			return false;
	if (is_latin(text[0]) && start > 0 && is_latin(chars[start - 1]))
		return false;
	return !(is_latin(text[len - 1]) && end < n && is_latin(chars[end]));
}

const PkPiiWord *
pk_pii_word_at(const uint16_t *chars, size_t n, size_t end, size_t *start)
{
	const PkPiiWord *best = NULL;
	size_t           best_len = 0;

	pthread_once(&once, build_index);
	for (int row = heads[bucket_of(chars[end - 1])]; row >= 0; row = next[row])
		if (lengths[row] <= end && lengths[row] > best_len && is_here(chars, n, end, (size_t) row))
		{
			best = &pk_pii_words[row];
			best_len = lengths[row];
		}
	*start = end - best_len;
	return best;
}
