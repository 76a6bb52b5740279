"""What is asked for: together fewer words than there are numbers, so that no number is ever given twice."""

WORDS = (
    *("teapot", "mug", "bowl", "plate", "book", "basket", "soup can", "wine bottle", "shelf", "tray"),
    *("red mug", "white mug", "moka pot", "milk carton", "butter", "cookies", "ketchup", "salad dressing"),
    *("giraffe", "banana", "umbrella", "hammer", "coffee pot", "black book", "cream cheese", "rack"),
)
QUERIES = (
    *("find the teapot", "where is my red mug?", "teapot, mug; bowl", "find the apple and the orange", ""),
    *("find the left mug", "two mugs", '"the left mug"', "not a teapot", "   ", "?!", ",,,,", "find the"),
    *(
        "чайник",
        "急須、茶碗",
        "إبريق الشاي",
        "café",
        "cafe\u0301",
        "👩\u200d🍳",
        "\u202emug",
        "mug\u200b",
        "ﬁsh",
        "İ",
    ),
    *(
        "x" * 200,
        "a" * 5000,
        "mug " * 60,
        "(((mug)))",
        '"mug',
        "mug\ntray\r\nshelf",
        "Mug",
        "MUG",
        "\u0301" * 50,
    ),
    *(
        "; drop table mugs",
        "../../etc/passwd",
        "{}",
        "%s%s%n",
        "${HOME}",
        "<b>mug</b>",
        "\x07mug",
        "nan",
        "None",
    ),
)
